//! Chance as the host gives it. A replay is given the same.

/// 64 random bits.
pub fn bits() -> u64 {
    #[cfg(target_arch = "wasm32")]
    return crate::bindings::workflow::vmcp::workflow::random::next();
    #[cfg(not(target_arch = "wasm32"))]
    return 1 << 63;
}

/// A number of at least 0 and below 1.
pub fn unit() -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "53 bits are what a double has")]
    let bits = (bits() >> 11) as f64;
    bits / (1u64 << 53) as f64
}
