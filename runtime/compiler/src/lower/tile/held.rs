//! Loads of a slab that may not exist: registers that keep what they held where nothing is loaded.

use super::slab::Inside;
use crate::ir::ExprId;
use crate::lower::Error;
use crate::lower::expression::{Access, Lowering, Reduce};
use crate::lower::value::Value;
use crate::ptx::{Address, Builder, Cache, Class, Few, Guard, Operand, Reg, Width};

/// The loads of one turn of the loop over the slabs, for the next slab.
///
/// No thread reads a slab beyond the last one: the loop has ended. So these registers need not become 0 in a turn that loads nothing.
pub(crate) struct Held {
    /// Holds where the slab exists; none if that is asked of each load.
    pub(crate) exists: Option<Reg>,
    /// The depth of the region around the loop.
    pub(crate) outside: usize,
    pub(crate) loads: Vec<Loaded>,
}

/// One load: the registers that hold what is loaded, and what they hold at present, as values.
pub(crate) struct Loaded {
    pub(crate) from: (Address, Width, usize),
    pub(crate) held: Few<Reg>,
    pub(crate) values: Few<Reg>,
}

impl Held {
    /// Within the loop.
    pub fn new(lowering: &Lowering<'_>, inside: Inside) -> Held {
        Held {
            exists: match inside {
                Inside::Where(predicate) => Some(predicate),
                Inside::All | Inside::Each => None,
            },
            outside: lowering.b.current_depth().saturating_sub(1),
            loads: Vec::new(),
        }
    }

    /// From here on values are those that have been loaded by now: what waits for a load stands after this.
    pub fn arrive(&mut self, b: &mut Builder) {
        for load in &mut self.loads {
            load.values = load.held.iter().map(|&reg| b.read(reg)).collect();
        }
    }

    pub(crate) fn load(
        &mut self,
        b: &mut Builder,
        width: Width,
        count: usize,
        address: Address,
        cache: Cache,
        guard: Option<Guard>,
    ) -> Few<Reg> {
        if self.exists.is_none() || guard.map(|guard| guard.predicate) != self.exists {
            return b.load(width, count, address, cache, guard);
        }
        if let Some(load) = self.loads.iter().find(|load| load.from == (address, width, count)) {
            return load.values.clone();
        }
        let turn = b.suspend(self.outside);
        let zero = zero_of(width.class());
        let held: Few<Reg> = (0..count).map(|_| b.mutable(width.class(), zero)).collect();
        b.resume(turn);
        b.load_into(&held, width, address, cache, guard);
        let values: Few<Reg> = held.iter().map(|&reg| b.read(reg)).collect();
        self.loads.push(Loaded {
            from: (address, width, count),
            held,
            values: values.clone(),
        });
        values
    }
}

pub(crate) fn zero_of(class: Class) -> Operand {
    match class {
        Class::F32 => 0f32.into(),
        Class::F64 => 0f64.into(),
        _ => 0.into(),
    }
}

impl Reduce for Held {
    fn reduce(&mut self, _: &mut Lowering<'_>, _: ExprId) -> Result<Option<Value>, Error> {
        Ok(None)
    }

    fn elements(&mut self, lowering: &mut Lowering<'_>, access: &Access) -> Few<Reg> {
        lowering.load_elements_by(access, &mut |b, width, count, address, cache, guard| {
            self.load(b, width, count, address, cache, guard)
        })
    }
}
