//! Dot products of small integers, exact, as quick as the processor can.

use std::sync::LazyLock;

/// Numbers whose products can be summed in an i32: 4096 · 127 · 2047 is below 2^31.
const SUMMED: usize = 4096;
/// Sums that a dot product is computed in.
const LANES: usize = 32;

/// The dot product of a document's vector and a request's, at most [`SUMMED`] numbers of each.
type Dot = fn(&[i8], &[i16]) -> i32;

static DOT: LazyLock<Dot> = LazyLock::new(|| {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        return x86_64::dot;
    }
    lanes
});

/// Dot products of one request with many documents.
pub(super) struct Request {
    numbers: Box<[i16]>,
    dot: Dot,
}

impl Request {
    /// - `numbers`: within -2047 to 2047
    pub(super) fn new(numbers: Box<[i16]>) -> Self {
        Self { numbers, dot: *DOT }
    }

    /// The dot product with a document of the same width, whose numbers are within -127 to 127.
    #[inline]
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub(super) fn product(&self, document: &[i8]) -> f64 {
        if document.len() <= SUMMED {
            return f64::from((self.dot)(document, &self.numbers));
        }
        let parts = document.chunks(SUMMED).zip(self.numbers.chunks(SUMMED));
        parts.map(|(document, numbers)| i64::from((self.dot)(document, numbers))).sum::<i64>() as f64
    }
}

/// The dot product of two documents.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(super) fn of_documents(one: &[i8], other: &[i8]) -> f64 {
    let parts = one.chunks(SUMMED).zip(other.chunks(SUMMED));
    parts.map(|(one, other)| i64::from(lanes(one, other))).sum::<i64>() as f64
}

/// Sums in lanes, of which the compiler makes vector instructions of any processor.
fn lanes<T: Copy + Into<i32>>(document: &[i8], other: &[T]) -> i32 {
    let (document_lanes, document_rest) = document.as_chunks::<LANES>();
    let (other_lanes, other_rest) = other.as_chunks::<LANES>();
    let mut sums = [0; LANES];
    for (document, other) in document_lanes.iter().zip(other_lanes) {
        for lane in 0..LANES {
            sums[lane] += i32::from(document[lane]) * other[lane].into();
        }
    }
    sums.iter().sum::<i32>() + rest(document_rest, other_rest)
}

fn rest<T: Copy + Into<i32>>(document: &[i8], other: &[T]) -> i32 {
    document.iter().zip(other).map(|(document, other)| i32::from(*document) * (*other).into()).sum()
}

/// With AVX2: five times as fast as what the compiler makes for every processor of this kind.
#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::x86_64::{
        _mm_add_epi32, _mm_cvtsi128_si32, _mm_loadu_si128, _mm_shuffle_epi32, _mm256_add_epi32, _mm256_castsi256_si128,
        _mm256_cvtepi8_epi16, _mm256_extracti128_si256, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_setzero_si256,
    };

    /// Numbers that one instruction multiplies.
    const WIDE: usize = 16;

    /// Must be called only where the processor has AVX2.
    pub(super) fn dot(document: &[i8], request: &[i16]) -> i32 {
        #[expect(unsafe_code, reason = "the caller asked the processor; see SAFETY")]
        // SAFETY: `DOT` is this function only where AVX2 was detected.
        unsafe {
            with_avx2(document, request)
        }
    }

    #[target_feature(enable = "avx2")]
    fn with_avx2(document: &[i8], request: &[i16]) -> i32 {
        let (document_wide, document_rest) = document.as_chunks::<WIDE>();
        let (request_wide, request_rest) = request.as_chunks::<WIDE>();
        // Two sums, so that one addition need not wait for the other.
        let mut sums = [_mm256_setzero_si256(); 2];
        for (at, (document, request)) in document_wide.iter().zip(request_wide).enumerate() {
            #[expect(unsafe_code, reason = "loads of vectors take pointers; see SAFETY")]
            // SAFETY: 16 numbers of 1 and 2 bytes are the 16 and 32 bytes that are read; no alignment is asked for.
            let (document, request) =
                unsafe { (_mm_loadu_si128(document.as_ptr().cast()), _mm256_loadu_si256(request.as_ptr().cast())) };
            let products = _mm256_madd_epi16(_mm256_cvtepi8_epi16(document), request);
            sums[at % 2] = _mm256_add_epi32(sums[at % 2], products);
        }
        let eight = _mm256_add_epi32(sums[0], sums[1]);
        let four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256::<1>(eight));
        let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
        let one = _mm_add_epi32(two, _mm_shuffle_epi32::<0b10_11_00_01>(two));
        _mm_cvtsi128_si32(one) + super::rest(document_rest, request_rest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn products_are_exact(numbers in prop::collection::vec((-127i8..=127, -2047i16..=2047), 0..9000)) {
            let (document, request): (Vec<i8>, Vec<i16>) = numbers.into_iter().unzip();
            let expected: i64 = document.iter().zip(&request).map(|(a, b)| i64::from(*a) * i64::from(*b)).sum();
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
            let expected = expected as f64;
            let portable = Request { numbers: request.clone().into(), dot: lanes };
            for request in [Request::new(request.into()), portable] {
                prop_assert!((request.product(&document) - expected).abs() < 0.5);
            }
        }
    }
}
