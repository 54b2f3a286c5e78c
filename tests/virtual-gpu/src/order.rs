//! The order of work on several streams: memory is used after its allocation and before its free, whichever stream runs first.
//!
//! Execution shows one legal order. This module finds mistakes in all others. Every point of a stream knows its past: the work ordered before it
//! by its stream, by events, and by what the host has waited for.

use crate::machine::Machine;
use crate::stream::{StreamId, Work};
use std::collections::BTreeMap;

/// The work ordered before a point: the position of the last item of each stream.
#[derive(Clone, Default)]
pub struct Past(BTreeMap<StreamId, u64>);

impl Past {
    pub fn add(&mut self, stream: StreamId, position: u64) {
        let last = self.0.entry(stream).or_default();
        *last = position.max(*last);
    }

    pub fn merge(&mut self, other: &Past) {
        other
            .0
            .iter()
            .for_each(|(stream, position)| self.add(*stream, *position));
    }

    fn contains(&self, stream: StreamId, position: u64) -> bool {
        self.0.get(&stream).is_some_and(|last| *last >= position)
    }
}

impl Machine {
    /// Notes the memory that an item of a stream uses, and reports memory that is freed or not yet allocated there.
    pub fn note_uses(&mut self, id: StreamId, position: u64, work: &Work) {
        let Some(stream) = self.streams.get(&id) else { return };
        let device = &mut self.devices[stream.device];
        let mut mistake = None;
        work.each_address(&mut |address| {
            if let Some(allocation) = containing(&mut device.live, address, |allocation| allocation.bytes) {
                let ordered = allocation
                    .born
                    .is_none_or(|(home, born)| home == id || stream.past.contains(home, born));
                if !ordered {
                    mistake = Some("that its stream may not have allocated yet");
                }
                allocation.uses.add(id, position);
            } else if containing(&mut device.freed, address, |bytes| *bytes).is_some() {
                mistake = Some("that was freed");
            }
        });
        if let Some(mistake) = mistake {
            self.problem(format!("{} uses memory {mistake}", work.name()));
        }
    }

    /// Reports a free on a stream that is not ordered after all uses of the memory.
    pub fn check_free(&mut self, id: StreamId, uses: &Past) {
        let past = &self.streams[&id].past;
        let mut unordered =
            (uses.0.iter()).filter(|(stream, position)| **stream != id && !past.contains(**stream, **position));
        if let Some((stream, _)) = unordered.next() {
            let stream = *stream;
            self.problem(format!(
                "memory is freed on stream {id:#x} while stream {stream:#x} may still use it"
            ));
        }
    }
}

/// Returns the region that contains an address.
fn containing<T>(regions: &mut BTreeMap<u64, T>, address: u64, bytes: impl Fn(&T) -> u64) -> Option<&mut T> {
    let (base, region) = regions.range_mut(..=address).next_back()?;
    (address - base < bytes(region)).then_some(region)
}
