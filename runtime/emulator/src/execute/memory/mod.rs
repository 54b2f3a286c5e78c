//! Loads and stores of every state space, and what other instructions share with them.

mod access;
mod banks;
mod decode;
mod global;
mod local;
mod modifiers;
mod read_only;
mod sectors;
mod shared;
mod spaces;
mod watch;

pub(super) use access::{SharedAccess, addresses, aligned};
pub(super) use banks::count_shared;
pub(super) use decode::decode;
pub(super) use global::{Request, outside_global, read_lanes, write_lanes};
pub(super) use modifiers::{ignore_cache_modifiers, take_space, take_strength};
pub(super) use sectors::{mark_sectors, sectors};
pub(super) use shared::{check_shared, inside_shared};
pub(super) use spaces::each_block;
pub(super) use watch::{report_race, watch_atomic, watch_copy, watch_store};
