//! Resolved calls: everything about a call but its addresses and scalars, kept by the shapes of its inputs.

use crate::bound::BoundKernel;
use crate::device::LoadedModule;
use crate::plan::Plan;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// The most resolved calls that are kept.
const MOST_CALLS: usize = 1 << 15;

/// A call whose kernel is chosen, loaded and bound.
pub(crate) struct ResolvedCall {
    pub key: CallKey,
    pub plan: Plan,
    /// The shapes of the outputs.
    pub outputs: Box<[Box<[usize]>]>,
    /// The kernel to launch. `None` if all outputs are empty.
    pub work: Option<(LoadedModule, BoundKernel)>,
}

/// The identity of a resolved call.
#[derive(Debug, PartialEq)]
pub(crate) struct CallKey {
    /// The operator's number in this process.
    pub operator: u64,
    /// `true` if every tensor starts at a multiple of 16 bytes.
    pub aligned: bool,
    pub check_indices: bool,
    /// The shapes of the tensor inputs.
    pub inputs: Box<[Box<[usize]>]>,
}

/// The resolved calls of a GPU, by a hash of their keys.
#[derive(Default)]
pub(crate) struct ResolvedCalls {
    calls: RwLock<HashMap<u64, Vec<Arc<ResolvedCall>>>>,
}

impl ResolvedCalls {
    /// Returns the call with this key. Allocates nothing.
    pub fn find<'s>(
        &self,
        operator: u64,
        aligned: bool,
        check_indices: bool,
        shapes: impl Iterator<Item = &'s [usize]> + Clone,
    ) -> Option<Arc<ResolvedCall>> {
        let hash = hash(operator, aligned, check_indices, shapes.clone());
        let same = |call: &&Arc<ResolvedCall>| {
            let key = &call.key;
            (key.operator, key.aligned, key.check_indices) == (operator, aligned, check_indices)
                && key.inputs.iter().map(|shape| &**shape).eq(shapes.clone())
        };
        let calls = self.calls.read().unwrap_or_else(PoisonError::into_inner);
        calls.get(&hash).and_then(|all| all.iter().find(same).cloned())
    }

    /// Adds a call, or replaces the one with the same key.
    pub fn insert(&self, call: Arc<ResolvedCall>) {
        let key = &call.key;
        let shapes = key.inputs.iter().map(|shape| &**shape);
        let hash = hash(key.operator, key.aligned, key.check_indices, shapes);
        let mut calls = self.calls.write().unwrap_or_else(PoisonError::into_inner);
        if calls.len() >= MOST_CALLS {
            calls.clear();
        }
        let all = calls.entry(hash).or_default();
        match all.iter_mut().find(|known| known.key == *key) {
            Some(known) => *known = call,
            None => all.push(call),
        }
    }

    pub fn clear(&self) {
        self.calls.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// FNV-1a over words. The inputs are short and not secret.
fn hash<'s>(operator: u64, aligned: bool, check: bool, shapes: impl Iterator<Item = &'s [usize]>) -> u64 {
    let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    let start = mix(
        0xcbf2_9ce4_8422_2325 ^ operator,
        u64::from(aligned) | u64::from(check) << 1,
    );
    shapes.fold(start, |hash, shape| {
        shape
            .iter()
            .fold(mix(hash, shape.len() as u64), |hash, &size| mix(hash, size as u64))
    })
}
