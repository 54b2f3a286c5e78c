//! Identifiers of an operator's parts: positions in its lists.

use bincode::{Decode, Encode};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
        pub struct $name(pub u32);

        impl $name {
            /// Returns the position in the list.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

id!(
    /// An expression: a position in [`Op::exprs`](crate::ir::Op::exprs).
    ExprId
);
id!(
    /// A named size: a position in [`Op::sizes`](crate::ir::Op::sizes).
    SizeId
);
id!(
    /// An axis: a position in [`Op::axes`](crate::ir::Op::axes).
    AxisId
);
id!(
    /// A parameter of the operator: a position in [`Op::inputs`](crate::ir::Op::inputs).
    InputId
);
id!(
    /// An intermediate tensor: a position in [`Op::lets`](crate::ir::Op::lets).
    LetId
);
