//! The encoding of a point. One without persistent blocks has the bytes that it had before there were any, so earlier records read on.

use super::space::{Keep, Pass, Row};
use bincode::de::Decoder;
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use bincode::{Decode, Encode};
use std::num::NonZeroU32;

type Encoded = (u32, u32, u32, Keep, u32, PassAndBlocks);

#[derive(Encode, Decode)]
enum PassAndBlocks {
    One,
    Several,
    Persistent(Pass, NonZeroU32),
}

impl Encode for Row {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        let last = match (self.pass, NonZeroU32::new(self.blocks)) {
            (Pass::One, None) => PassAndBlocks::One,
            (Pass::Several, None) => PassAndBlocks::Several,
            (pass, Some(blocks)) => PassAndBlocks::Persistent(pass, blocks),
        };
        let encoded: Encoded = (self.threads, self.rows, self.vector, self.keep, self.unroll, last);
        encoded.encode(encoder)
    }
}

impl<Context> Decode<Context> for Row {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Row, DecodeError> {
        let (threads, rows, vector, keep, unroll, last) = Encoded::decode(decoder)?;
        let (pass, blocks) = match last {
            PassAndBlocks::One => (Pass::One, 0),
            PassAndBlocks::Several => (Pass::Several, 0),
            PassAndBlocks::Persistent(pass, blocks) => (pass, blocks.get()),
        };
        Ok(Row {
            threads,
            rows,
            vector,
            keep,
            unroll,
            pass,
            blocks,
        })
    }
}

bincode::impl_borrow_decode!(Row);

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: Row = Row {
        threads: 64,
        rows: 2,
        vector: 4,
        keep: Keep::Reload,
        unroll: 8,
        pass: Pass::Several,
        blocks: 0,
    };

    fn bytes(row: Row) -> Vec<u8> {
        bincode::encode_to_vec(row, bincode::config::standard()).unwrap()
    }

    fn row(bytes: &[u8]) -> Option<Row> {
        let (row, taken) = bincode::decode_from_slice(bytes, bincode::config::standard()).ok()?;
        (taken == bytes.len()).then_some(row)
    }

    #[test]
    fn every_point_reads_back() {
        for (pass, blocks) in [Pass::One, Pass::Several]
            .into_iter()
            .flat_map(|pass| [(pass, 0), (pass, 264)])
        {
            let point = Row { pass, blocks, ..ROW };
            assert_eq!(row(&bytes(point)), Some(point));
        }
    }

    #[test]
    fn points_without_persistent_blocks_have_the_bytes_of_earlier_records() {
        assert_eq!(bytes(ROW), [64, 2, 4, 2, 8, 1]);
        let one = Row { pass: Pass::One, ..ROW };
        assert_eq!(bytes(one), [64, 2, 4, 2, 8, 0]);
        assert_eq!(
            row(&[64, 2, 4, 2, 8, 2, 1, 0]),
            None,
            "no blocks are encoded in one way only"
        );
    }
}
