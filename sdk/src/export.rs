//! What the register macros put together: a component of one extension point, or of several.

#[cfg(target_arch = "wasm32")]
use std::marker::PhantomData;

use crate::component::ConfigProblem;
#[cfg(target_arch = "wasm32")]
use crate::{bindings::component::exports::vmcp::types::component as wit, component::Package, log};

/// One extension point that a component fills, or several: a pair fills what its two sides fill.
pub trait Worlds {
    /// The exported interfaces without their version, each with the JSON Schema of its config.
    fn describe() -> Vec<(&'static str, String)>;

    /// What is wrong with `config` for `world`; nothing at all if this is no `world`.
    fn check_config(world: &str, config: &str) -> Option<Vec<ConfigProblem>>;
}

impl<A: Worlds, B: Worlds> Worlds for (A, B) {
    fn describe() -> Vec<(&'static str, String)> {
        let mut worlds = A::describe();
        worlds.extend(B::describe());
        worlds
    }

    fn check_config(world: &str, config: &str) -> Option<Vec<ConfigProblem>> {
        A::check_config(world, config).or_else(|| B::check_config(world, config))
    }
}

/// A component that fills `W`, built from the package `P`.
#[cfg(target_arch = "wasm32")]
pub struct Exported<P, W>(PhantomData<(P, W)>);

#[cfg(target_arch = "wasm32")]
impl<P: Package, W: Worlds> wit::Guest for Exported<P, W> {
    fn describe() -> wit::Description {
        log::report_panics();
        let describe = |(world, config_schema): (&str, String)| wit::WorldDescription {
            world: world.into(),
            config_schema,
            extra: String::new(),
        };
        wit::Description {
            name: P::NAME.into(),
            version: P::VERSION.into(),
            summary: P::SUMMARY.into(),
            worlds: W::describe().into_iter().map(describe).collect(),
            extra: String::new(),
        }
    }

    fn check_config(world: String, config: String) -> Vec<wit::ConfigProblem> {
        log::report_panics();
        W::check_config(&world, &config)
            .unwrap_or_else(|| vec![ConfigProblem::new("", format!("this component is no `{world}`"))])
            .into_iter()
            .map(|ConfigProblem { pointer, message }| wit::ConfigProblem { pointer, message, extra: String::new() })
            .collect()
    }
}

/// Makes one type a [`ConflictResolver`](crate::conflict::ConflictResolver) and another (or the same) a
/// [`RankingStrategy`](crate::ranking::RankingStrategy) of one component; once per crate, instead of the macro of either.
/// Name, version and summary are the crate's `name`, `version` and `description`.
#[macro_export]
macro_rules! register_component {
    (conflict_resolver: $resolver:ty, ranking_strategy: $ranking:ty $(,)?) => {
        $crate::__register!(
            ($crate::conflict::World<$resolver>, $crate::ranking::World<$ranking>),
            conflict: $resolver,
            ranking: $ranking
        );
    };
}

/// What all register macros become.
#[doc(hidden)]
#[macro_export]
macro_rules! __register {
    ($worlds:ty, $($point:ident: $implementor:ty),+) => {
        const _: () = {
            struct ThisCrate;

            impl $crate::component::Package for ThisCrate {
                const NAME: &str = ::core::env!("CARGO_PKG_NAME");
                const VERSION: &str = ::core::env!("CARGO_PKG_VERSION");
                const SUMMARY: &str = ::core::env!("CARGO_PKG_DESCRIPTION");
            }

            #[cfg(target_arch = "wasm32")]
            const _: () = {
                type Component = $crate::export::Exported<ThisCrate, $worlds>;
                $crate::bindings::component::export!(Component with_types_in $crate::bindings::component);
            };
            $(
                #[cfg(target_arch = "wasm32")]
                const _: () = {
                    type Component = $crate::$point::Exported<$implementor>;
                    $crate::bindings::$point::export!(Component with_types_in $crate::bindings::$point);
                };
            )+

            // Without WebAssembly there is nothing to export to; the types are still checked.
            #[cfg(not(target_arch = "wasm32"))]
            const _: fn() = || {
                fn is_component<P: $crate::component::Package, W: $crate::export::Worlds>() {}
                is_component::<ThisCrate, $worlds>();
            };
        };
    };
}
