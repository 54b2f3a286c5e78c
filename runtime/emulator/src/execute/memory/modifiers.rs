//! The modifiers that memory accesses share: state space, memory order, caching.

use crate::draft::Draft;
use crate::error::Error;
use crate::machine::shared::Strength;
use crate::parse::syntax::Space;

/// Takes the modifiers of memory order. Memory is sequentially consistent, so only the sanitizer uses them.
pub(crate) fn take_strength(draft: &mut Draft<'_, '_>) -> Strength {
    let both = draft.take("acq_rel");
    let (acquires, releases) = (draft.take("acquire") | both, draft.take("release") | both);
    let others = ["volatile", "relaxed", "mmio"].map(|name| draft.take(name));
    Strength {
        strong: acquires || releases || others.contains(&true),
        acquires,
        releases,
    }
}

/// Takes the modifiers of scopes and caching, which change nothing in the emulator.
pub(crate) fn ignore_cache_modifiers(draft: &mut Draft<'_, '_>) {
    draft.ignore(&[
        "weak", "cta", "cluster", "gpu", "sys", "ca", "cg", "cs", "cv", "lu", "wb", "wt", "nc", "unified",
    ]);
    draft.ignore_prefixed(&["L1::", "L2::"]);
}

/// Takes the state space. An access without one is generic.
pub(crate) fn take_space(draft: &mut Draft<'_, '_>) -> Result<Space, Error> {
    Ok(
        match draft.take_any(&[
            "global",
            "shared::cta",
            "shared",
            "local",
            "const",
            "param::entry",
            "param::func",
            "param",
        ]) {
            Some("global") => Space::Global,
            Some("shared" | "shared::cta") => Space::Shared,
            Some("local") => Space::Local,
            Some("const") => Space::Constant,
            Some(_) => Space::Parameter,
            None => Space::Generic,
        },
    )
}
