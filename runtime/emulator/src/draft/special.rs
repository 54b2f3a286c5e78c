//! Special registers as sources.

use super::helpers::{Extend, High, Truncate, read_clock};
use super::scope::COMPONENTS;
use super::text::Draft;
use crate::error::Error;
use crate::layout::RESERVED_SHARED;
use crate::machine::action::Action;
use crate::machine::lanes::function;
use crate::machine::program::{Constant, Special, Use};
use crate::machine::registers::{Slot, Slots};
use crate::parse::syntax::Type;

impl Draft<'_, '_> {
    /// The slot of a special register as a source of the type's width.
    pub(super) fn special(&mut self, name: &str, ty: Type) -> Result<Slot, Error> {
        let (base, axis) = name.rsplit_once('.').unwrap_or((name, ""));
        let axis = COMPONENTS[0]
            .iter()
            .position(|name| *name == axis)
            .map(|axis| axis as u8);
        let special = match (base, axis) {
            // These vectors have four components, of which the last is 0.
            (
                "%tid" | "%ntid" | "%ctaid" | "%nctaid" | "%clusterid" | "%nclusterid" | "%cluster_ctaid"
                | "%cluster_nctaid",
                Some(3),
            ) => return Ok(self.number(0, ty)),
            ("%tid", Some(axis)) => Special::ThreadIndex(axis),
            ("%ntid", Some(axis)) => Special::BlockSize(axis),
            ("%ctaid", Some(axis)) => Special::BlockIndex(axis),
            ("%nctaid", Some(axis)) => Special::GridSize(axis),
            ("%clusterid", Some(axis)) => Special::ClusterIndex(axis),
            ("%nclusterid", Some(axis)) => Special::ClusterCount(axis),
            ("%cluster_ctaid", Some(axis)) => Special::IndexInCluster(axis),
            ("%cluster_nctaid", Some(axis)) => Special::ClusterSize(axis),
            ("%cluster_ctarank", None) => Special::ClusterRank,
            ("%cluster_nctarank", None) => Special::ClusterBlocks,
            ("%laneid", None) => Special::Lane,
            ("%warpid", None) => Special::WarpIndex,
            ("%nwarpid", None) => Special::WarpCount,
            ("%smid", None) => Special::Processor,
            ("%nsmid", None) => Special::ProcessorCount,
            ("%gridid", None) => Special::GridId,
            ("%lanemask_eq", None) => Special::MaskEqual,
            ("%lanemask_lt", None) => Special::MaskLess,
            ("%lanemask_le", None) => Special::MaskLessEqual,
            ("%lanemask_gt", None) => Special::MaskGreater,
            ("%lanemask_ge", None) => Special::MaskGreaterEqual,
            ("%dynamic_smem_size", None) => Special::DynamicShared,
            ("%total_smem_size", None) => Special::TotalShared,
            ("%aggr_smem_size", None) => Special::TotalAndReservedShared,
            ("%reserved_smem_offset_begin" | "%reserved_smem_offset_0", None) => return Ok(self.number(0, ty)),
            ("%reserved_smem_offset_end" | "%reserved_smem_offset_cap", None) => {
                return Ok(self.number(RESERVED_SHARED, ty));
            }
            // The part for device libraries, of at least 288 bytes.
            ("%reserved_smem_offset_1", None) => return Ok(self.number(RESERVED_SHARED / 2, ty)),
            // Driver-defined registers. CUDA's driver sets them to 0 unless a launch is cooperative.
            (name, None) if is_environment(name) => return Ok(self.number(0, ty)),
            ("%clock" | "%clock_hi" | "%clock64" | "%globaltimer" | "%globaltimer_lo" | "%globaltimer_hi", None) => {
                return Ok(self.clock(name, ty));
            }
            _ if name.starts_with('%') => {
                return Err(self.unsupported(format!(
                    "the name `{name}` (not declared, and no special register known here)"
                )));
            }
            _ => return Err(self.invalid(format!("no register `{name}`"))),
        };
        let slot = self.decoder.constant(Constant::Special(special));
        let wide = special == Special::GridId;
        if (ty.size() == 8) == wide {
            return Ok(slot);
        }
        if wide {
            return Err(self.invalid(format!("`{name}` has 64 bits")));
        }
        // `mov.u64` of a 32-bit special register zero-extends.
        let extended = self.decoder.fresh(Type::B64);
        self.helper(function::<Extend>(), slot, extended);
        Ok(extended)
    }

    /// The slot of a constant of the type's width.
    fn number(&mut self, value: u32, ty: Type) -> Slot {
        match ty.size() {
            8 => self.wide_constant(value.into()),
            _ => self.narrow_constant(value),
        }
    }

    /// The slot of a clock register, which a helper reads.
    fn clock(&mut self, name: &str, ty: Type) -> Slot {
        let wide = self.decoder.fresh(Type::B64);
        let slots = Slots {
            to: wide,
            ..Slots::default()
        };
        self.ahead(Action::Warp(read_clock), slots, Use::Row(wide));
        if ty.size() == 8 {
            return wide;
        }
        let narrow = self.decoder.fresh(Type::B32);
        let part = if name.ends_with("_hi") {
            function::<High>()
        } else {
            function::<Truncate>()
        };
        self.helper(part, wide, narrow);
        narrow
    }
}

/// `true` for `%envreg0` to `%envreg31`.
fn is_environment(name: &str) -> bool {
    let number = name.strip_prefix("%envreg");
    number.is_some_and(|number| (0..32).any(|known: u32| known.to_string() == number))
}
