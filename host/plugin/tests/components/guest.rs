//! Components from a few lines of WebAssembly text, for what no compiler would make: the smallest guest that does one thing
//! wrong. The canonical ABI is written out by hand; field offsets are those of `wit/`.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

const WIT: [(&str, &str); 3] = [
    ("types.wit", include_str!("../../../../wit/deps/vmcp-types@0.1.0/types.wit")),
    ("host.wit", include_str!("../../../../wit/deps/vmcp-host@0.1.0/host.wit")),
    ("conflict.wit", include_str!("../../../../wit/deps/vmcp-conflict@0.1.0/conflict.wit")),
];

/// The part of WASI that the tests import.
const WASI: &str = "
    package wasi:root@0.2.0;
    package wasi:io@0.2.0 { interface poll { resource pollable { block: func(); } } }
    package wasi:clocks@0.2.0 {
        interface monotonic-clock {
            use wasi:io/poll@0.2.0.{pollable};
            now: func() -> u64;
            subscribe-duration: func(when: u64) -> pollable;
        }
    }
    package wasi:http@0.2.0 { interface outgoing-handler { handle: func(); } }
    package acme:vault@1.0.0 { interface secrets { read: func(); } }";

/// A conflict resolver in pieces of WebAssembly text.
pub(crate) struct Guest {
    /// Version of every `vmcp` package that it was built with.
    pub(crate) version: &'static str,
    /// WIT of further imports.
    pub(crate) imports: &'static str,
    /// Functions imported by the core module, as text.
    pub(crate) core_imports: &'static str,
    /// Further fields of the core module, e.g. a start function.
    pub(crate) fields: &'static str,
    /// Pages of 64 KiB at the start.
    pub(crate) pages: u32,
    /// Runs before `describe` answers.
    pub(crate) describe: &'static str,
    /// The body of `check-config`: leaves the address of pointer and length of the problems.
    pub(crate) check_config: &'static str,
    /// The body of `resolve`: leaves the address of a `result`. `$contenders` and `$count` are its parameters.
    pub(crate) resolve: &'static str,
    /// Whether it exports the conflict world at all.
    pub(crate) resolves: bool,
}

impl Default for Guest {
    fn default() -> Self {
        Self {
            version: "0.1.0",
            imports: "",
            core_imports: "",
            fields: "",
            pages: 1,
            describe: "",
            check_config: "i32.const 600", // no problems: zero memory
            resolve: EXPOSE_ALL,
            resolves: true,
        }
    }
}

/// Exposes every contender under its own name.
pub(crate) const EXPOSE_ALL: &str = "(call $expose (local.get $contenders) (local.get $count))";

impl Guest {
    pub(crate) fn build(&self) -> Vec<u8> {
        let mut resolve = Resolve::default();
        for (path, text) in WIT {
            resolve.push_str(path, &text.replace("0.1.0", self.version)).unwrap();
        }
        resolve.push_str("wasi.wit", WASI).unwrap();
        let version = self.version;
        let export =
            if self.resolves { format!("export vmcp:conflict/conflict-resolver@{version};") } else { String::new() };
        let world = format!(
            "package test:guest;
            world guest {{
                import vmcp:host/log@{version};
                {}
                export vmcp:types/component@{version};
                {export}
            }}",
            self.imports
        );
        let package = resolve.push_str("guest.wit", &world).unwrap();
        let world = resolve.select_world(&[package], Some("guest")).unwrap();
        let mut module = wat::parse_str(self.core()).unwrap();
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
    }

    fn core(&self) -> String {
        let Self { version, core_imports, fields, pages, describe, check_config, resolve, .. } = self;
        let resolver = format!(
            r#"(func (export "vmcp:conflict/conflict-resolver@{version}#resolve")
                (param $config i32) (param $config-length i32) (param $kind i32) (param $names i32)
                (param $contenders i32) (param $count i32) (param $extra i32) (param $extra-length i32) (result i32)
                {resolve})"#
        );
        let resolver = if self.resolves { resolver } else { String::new() };
        format!(
            r#"(module
                {core_imports}
                (memory (export "memory") {pages})
                (data (i32.const 512) "hand-made")
                (data (i32.const 528) "1.2.3")
                (data (i32.const 544) "it went wrong")
                (global $free (mut i32) (i32.const 1024))
                (func $realloc (export "cabi_realloc")
                    (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
                    (local $at i32)
                    (local.set $at
                        (i32.and
                            (i32.add (global.get $free) (i32.sub (local.get $align) (i32.const 1)))
                            (i32.sub (i32.const 0) (local.get $align))))
                    (global.set $free (i32.add (local.get $at) (local.get $size)))
                    (block $fits
                        (loop $grow
                            (br_if $fits
                                (i32.le_u (global.get $free) (i32.shl (memory.size) (i32.const 16))))
                            (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable))
                            (br $grow)))
                    (local.get $at))
                ;; A result of one resolution per contender: 88 bytes each in, 28 bytes each out.
                (func $expose (param $contenders i32) (param $count i32) (result i32)
                    (local $result i32) (local $out i32) (local $i i32)
                    (local.set $result (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 12)))
                    (local.set $out
                        (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.mul (local.get $count) (i32.const 28))))
                    (i32.store8 (local.get $result) (i32.const 0))
                    (i32.store offset=4 (local.get $result) (local.get $out))
                    (i32.store offset=8 (local.get $result) (local.get $count))
                    (block $done
                        (loop $next
                            (br_if $done (i32.eq (local.get $i) (local.get $count)))
                            (i64.store offset=4 align=4 (local.get $out)
                                (i64.load offset=16 align=4 (local.get $contenders)))
                            (local.set $contenders (i32.add (local.get $contenders) (i32.const 88)))
                            (local.set $out (i32.add (local.get $out) (i32.const 28)))
                            (local.set $i (i32.add (local.get $i) (i32.const 1)))
                            (br $next)))
                    (local.get $result))
                (func (export "vmcp:types/component@{version}#describe") (result i32)
                    {describe}
                    (i32.store (i32.const 64) (i32.const 512))
                    (i32.store (i32.const 68) (i32.const 9))
                    (i32.store (i32.const 72) (i32.const 528))
                    (i32.store (i32.const 76) (i32.const 5))
                    (i32.const 64))
                (func (export "vmcp:types/component@{version}#check-config")
                    (param $world i32) (param $world-length i32) (param $config i32) (param $config-length i32) (result i32)
                    {check_config})
                {resolver}
                {fields})"#
        )
    }
}
