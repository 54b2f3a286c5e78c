//! The sanitizer's checks of registers and masks, before an operation runs.

use crate::count::Class;
use crate::machine::core::Core;
use crate::machine::program::{Operation, Use};
use crate::machine::warp::Warp;
use crate::sanitize::FindingKind;

impl Warp {
    /// Reports a mask that differs from the lanes which take part in a warp-wide instruction.
    #[cold]
    pub(super) fn check_mask(&mut self, core: &mut Core<'_>, operation: &Operation, named: u32, active: u32) {
        let lane = active.trailing_zeros() as usize;
        if named & !active != 0 {
            core.find(FindingKind::InactiveLanes, self, operation, lane, None, || {
                format!("the mask {named:#010x} names lanes that do not execute it; {active:#010x} do")
            });
        } else if active & !named != 0 {
            core.find(FindingKind::InactiveLanes, self, operation, lane, None, || {
                format!("the lanes {active:#010x} execute it, but the mask {named:#010x} omits some of them")
            });
        }
    }

    /// Reports reads of undefined registers, and notes which registers the operation defines.
    #[inline(never)]
    pub(super) fn check_registers(&mut self, core: &mut Core<'_>, operation: &Operation, lanes: u32, active: u32) {
        let info = &core.launch.program.info[operation.index as usize];
        let mut undefined = 0;
        for read in &info.reads {
            let (defined, needed) = match *read {
                Use::Row(slot) => (self.registers.defined[self.registers.base + slot as usize], active),
                Use::Predicate(slot) => {
                    let is_guard = slot == operation.guard;
                    (
                        self.registers.predicate_defined[self.registers.predicate_base + slot as usize],
                        if is_guard { lanes } else { active },
                    )
                }
            };
            undefined |= needed & !defined;
        }
        if undefined != 0 && !info.propagates {
            let lane = undefined.trailing_zeros() as usize;
            core.find(FindingKind::UninitialisedRegister, self, operation, lane, None, || {
                "a source register was never written in this thread".into()
            });
            undefined = 0;
        }
        if !self.products.is_empty() && info.class != Class::Matrix {
            self.check_products(core, operation, active);
        }
        for write in &info.writes {
            let mask = match *write {
                Use::Row(slot) => &mut self.registers.defined[self.registers.base + slot as usize],
                Use::Predicate(slot) => {
                    &mut self.registers.predicate_defined[self.registers.predicate_base + slot as usize]
                }
            };
            *mask = (*mask | active) & !(undefined & active);
        }
    }

    /// Reports uses of registers that a `wgmma` product may still be writing.
    #[inline(never)]
    fn check_products(&mut self, core: &mut Core<'_>, operation: &Operation, active: u32) {
        let info = &core.launch.program.info[operation.index as usize];
        let base = self.registers.base;
        let touched = info.reads.iter().chain(&info.writes).any(|place| match *place {
            Use::Row(slot) => self.products.iter().flatten().any(|row| *row == base + slot as usize),
            Use::Predicate(_) => false,
        });
        if touched && active != 0 {
            let lane = active.trailing_zeros() as usize;
            core.find(FindingKind::MissingWait, self, operation, lane, None, || {
                "touches a register of a matrix product that `wgmma.wait_group` has not waited for".into()
            });
        }
    }
}
