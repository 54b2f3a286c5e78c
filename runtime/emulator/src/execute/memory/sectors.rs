//! The 32-byte sectors of global memory that requests touch.

use crate::machine::core::{Core, Touched};
use crate::machine::lanes::each;
use crate::machine::program::Operation;
use crate::machine::registers::LANES;

/// The distinct sectors of a request whose lanes each access one sector, and their number.
pub(crate) fn sectors(addresses: &[u64; LANES], mask: u32) -> ([u64; LANES], usize) {
    let mut sectors = [0; LANES];
    let mut count = 0;
    let mut sorted = true;
    each(mask, |lane| {
        let sector = addresses[lane] / 32;
        if count > 0 && sectors[count - 1] == sector {
            return;
        }
        sorted &= count == 0 || sectors[count - 1] < sector;
        sectors[count] = sector;
        count += 1;
    });
    if !sorted {
        sectors[..count].sort_unstable();
        let mut kept = 1;
        for index in 1..count {
            if sectors[index] != sectors[kept - 1] {
                sectors[kept] = sectors[index];
                kept += 1;
            }
        }
        count = kept;
    }
    (sectors, count)
}

/// Marks sectors as read or written by the launch.
pub(crate) fn mark_sectors(core: &mut Core<'_>, operation: &Operation, sectors: &[u64], read: bool, written: bool) {
    for sector in sectors {
        if let Some((index, offset)) = core.allocation(operation, sector * 32, 1) {
            let touched = core.touched(index);
            if read {
                Touched::mark(&touched.read, offset / 32);
            }
            if written {
                Touched::mark(&touched.written, offset / 32);
            }
        }
    }
}
