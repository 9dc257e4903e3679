//! Imports beyond what a resolver may have, and a call of each so that they stay.

#![allow(unsafe_code, clippy::all, reason = "generated code")]

#[cfg(feature = "unknown-import")]
wit_bindgen::generate!({
    inline: "
        package evil:thing@0.1.0;

        interface x {
            act: func();
        }

        world guest {
            import x;
        }
    ",
});

#[cfg(feature = "unknown-import")]
pub(crate) fn call() {
    evil::thing::x::act();
}

#[cfg(feature = "wasi-clock")]
wit_bindgen::generate!({
    inline: "
        package vmcp:guest;

        world guest {
            import wasi:clocks/monotonic-clock@0.2.0;
            import wasi:random/random@0.2.0;
        }

        package wasi:clocks@0.2.0 {
            interface monotonic-clock {
                type instant = u64;
                now: func() -> instant;
            }
        }

        package wasi:random@0.2.0 {
            interface random {
                get-random-u64: func() -> u64;
            }
        }
    ",
    generate_all,
});

#[cfg(feature = "wasi-clock")]
pub(crate) fn call() {
    let now = wasi::clocks::monotonic_clock::now();
    let random = wasi::random::random::get_random_u64();
    vmcp_sdk::log::info(format!("it is {now}, and the dice show {random}"));
}
