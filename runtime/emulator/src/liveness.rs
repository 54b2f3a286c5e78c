//! The registers that a kernel needs at least: the values that are live at once.

use crate::machine::action::{Action, Executable};
use crate::machine::program::{Control, NO_GUARD, Use};
use std::collections::BTreeMap;

/// A set of register rows.
#[derive(Clone, Default, PartialEq)]
struct Rows(Vec<u64>);

impl Rows {
    fn set(&mut self, row: usize, live: bool) {
        if row / 64 >= self.0.len() {
            self.0.resize(row / 64 + 1, 0);
        }
        let bit = 1 << (row % 64);
        match live {
            true => self.0[row / 64] |= bit,
            false => self.0[row / 64] &= !bit,
        }
    }

    fn add(&mut self, other: &Rows) {
        self.0.resize(self.0.len().max(other.0.len()), 0);
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }

    fn len(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }
}

/// Returns the largest number of 32-bit values of a thread that are live at once in the kernel itself, without the functions that it calls.
/// Constants and special registers are not counted.
pub(crate) fn live_rows(executable: &Executable) -> u32 {
    let program = &executable.program;
    let Some(kernel) = program.functions.first() else {
        return 0;
    };
    let first = kernel.entry as usize;
    let entries = program.functions.iter().map(|function| function.entry as usize);
    let end = entries.filter(|&entry| entry > first).min();
    let end = end.unwrap_or(program.operations.len());
    let is_value = |row: u32| !kernel.constant_rows.get(row as usize).copied().unwrap_or(false);
    let rows = |first: u32| first..=first + u32::from(kernel.wide_rows.binary_search(&first).is_ok());

    // What is live where a branch leads.
    let mut live_at: BTreeMap<usize, Rows> = BTreeMap::new();
    for action in &executable.actions[first..end] {
        for target in targets(action, &program.lists) {
            live_at.insert(target, Rows::default());
        }
    }
    let mut most = 0;
    loop {
        let mut changed = false;
        let mut live = Rows::default();
        for at in (first..end).rev() {
            let (operation, action, info) = (&program.operations[at], &executable.actions[at], &program.info[at]);
            let guarded = operation.guard != NO_GUARD;
            if !guarded && ends(action) {
                live = Rows::default();
            }
            for target in targets(action, &program.lists) {
                if let Some(rows) = live_at.get(&target) {
                    live.add(rows);
                }
            }
            for written in &info.writes {
                match *written {
                    // What is written under a guard may keep its value.
                    Use::Row(row) if !guarded => rows(row).for_each(|row| live.set(row as usize, false)),
                    _ => (),
                }
            }
            for read in &info.reads {
                match *read {
                    Use::Row(row) if is_value(row) => rows(row).for_each(|row| live.set(row as usize, true)),
                    _ => (),
                }
            }
            most = most.max(live.len());
            if let Some(known) = live_at.get_mut(&at) {
                let before = known.clone();
                known.add(&live);
                changed |= *known != before;
            }
        }
        if !changed {
            return most;
        }
    }
}

/// The operations to which an action may lead, other than the next one.
fn targets(action: &Action, lists: &[Vec<u32>]) -> Vec<usize> {
    match action {
        Action::Control(Control::Branch { to }) => vec![*to as usize],
        Action::Control(Control::Indexed { list, .. }) => {
            lists[*list as usize].iter().map(|&target| target as usize).collect()
        }
        _ => Vec::new(),
    }
}

/// `true` if the next operation does not follow.
fn ends(action: &Action) -> bool {
    matches!(
        action,
        Action::Control(
            Control::Branch { .. }
                | Control::Indexed { .. }
                | Control::Return
                | Control::Exit
                | Control::Trap
                | Control::System
        )
    )
}
