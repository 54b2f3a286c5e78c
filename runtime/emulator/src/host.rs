//! The host processor's vector instructions.

/// `true` if the processor has AVX2, FMA and the bit instructions that come with them: the features that functions
/// marked `avx2,fma,bmi1,bmi2,lzcnt,popcnt` are compiled for.
#[cfg(target_arch = "x86_64")]
pub(crate) fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
        && is_x86_feature_detected!("popcnt")
}
