//! A log-linear histogram over all of `u64`: exact below 16, then 8 buckets an octave. A bucket's middle is at most
//! 1/16 = 6.25 % away from any value in it. Nothing is clipped at either end.

/// Number of buckets.
pub const BUCKETS: usize = 16 + 60 * 8;

/// Those of them that the programs keep: of values below 2^46 ns, 19 hours. What takes longer is in the last of these: a table's
/// nodes are made and read so often that their size is what following many paths costs.
pub const KEPT_BUCKETS: usize = 16 + 42 * 8;

/// The bucket of a value.
#[inline(always)]
pub fn bucket_of(value: u64) -> usize {
    if value < 16 {
        return value as usize;
    }
    let exponent = floor_log2(value);
    16 + (exponent as usize - 4) * 8 + ((value >> (exponent - 3)) & 7) as usize
}

/// The smallest value of a bucket.
pub fn bucket_low(bucket: usize) -> u64 {
    if bucket < 16 {
        return bucket as u64;
    }
    let (exponent, part) = ((bucket - 16) / 8 + 4, (bucket - 16) % 8);
    (8 + part as u64) << (exponent - 3)
}

/// The largest value of a bucket.
pub fn bucket_high(bucket: usize) -> u64 {
    if bucket + 1 >= BUCKETS { u64::MAX } else { bucket_low(bucket + 1) - 1 }
}

/// By halving: BPF has no instruction that counts leading zeros.
#[inline(always)]
fn floor_log2(mut value: u64) -> u32 {
    let mut log = 0;
    if value >> 32 != 0 {
        value >>= 32;
        log += 32;
    }
    if value >> 16 != 0 {
        value >>= 16;
        log += 16;
    }
    if value >> 8 != 0 {
        value >>= 8;
        log += 8;
    }
    if value >> 4 != 0 {
        value >>= 4;
        log += 4;
    }
    if value >> 2 != 0 {
        value >>= 2;
        log += 2;
    }
    if value >> 1 != 0 {
        log += 1;
    }
    log
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn buckets_tile_the_whole_range() {
        for bucket in 1..BUCKETS {
            assert_eq!(bucket_high(bucket - 1).wrapping_add(1), bucket_low(bucket));
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        assert_eq!(bucket_high(KEPT_BUCKETS - 1), (1 << 46) - 1);
    }

    proptest! {
        #[test]
        fn a_value_lies_in_its_bucket_and_the_middle_is_within_a_sixteenth(value: u64, shift in 0u32..64) {
            let value = value >> shift;
            let bucket = bucket_of(value);
            let (low, high) = (bucket_low(bucket), bucket_high(bucket));
            prop_assert!(low <= value && value <= high);
            let middle = low + (high - low) / 2;
            prop_assert!(middle.abs_diff(value) as f64 <= 0.0625 * value as f64);
        }
    }
}
