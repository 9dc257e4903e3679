//! Brings vectors to length 1, so that the dot product of two is their cosine.

/// Divides `vector` by its length; zeros stay zeros.
pub fn normalise(vector: &mut [f32]) {
    let length = length(vector);
    if length > 0.0 {
        for number in vector {
            #[expect(clippy::cast_possible_truncation, reason = "below 1, so it fits")]
            let scaled = (f64::from(*number) / length) as f32;
            *number = scaled;
        }
    }
}

/// In f64, since squares of large numbers overflow f32.
fn length(vector: &[f32]) -> f64 {
    vector.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_get_length_one() {
        let check = |mut vector: Vec<f32>, expected: &[f32]| {
            normalise(&mut vector);
            assert_eq!(vector, expected);
        };
        check(vec![3.0, 4.0], &[0.6, 0.8]);
        check(vec![0.0, 0.0], &[0.0, 0.0]);
        check(vec![1e30, 0.0], &[1.0, 0.0]);
        check(vec![], &[]);
    }
}
