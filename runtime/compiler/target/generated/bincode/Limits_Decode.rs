impl < __Context > :: bincode :: Decode < __Context > for Limits
{
    fn decode < __D : :: bincode :: de :: Decoder < Context = __Context > >
    (decoder : & mut __D) ->core :: result :: Result < Self, :: bincode ::
    error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            threads_per_block : :: bincode :: Decode :: decode(decoder) ?,
            shared_per_block : :: bincode :: Decode :: decode(decoder) ?,
            shared_reserved : :: bincode :: Decode :: decode(decoder) ?,
            registers_per_block : :: bincode :: Decode :: decode(decoder) ?,
            threads_per_multiprocessor : :: bincode :: Decode ::
            decode(decoder) ?, blocks_per_multiprocessor : :: bincode ::
            Decode :: decode(decoder) ?, shared_per_multiprocessor : ::
            bincode :: Decode :: decode(decoder) ?,
            registers_per_multiprocessor : :: bincode :: Decode ::
            decode(decoder) ?,
        })
    }
} impl < '__de, __Context > :: bincode :: BorrowDecode < '__de, __Context >
for Limits
{
    fn borrow_decode < __D : :: bincode :: de :: BorrowDecoder < '__de,
    Context = __Context > > (decoder : & mut __D) ->core :: result :: Result <
    Self, :: bincode :: error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            threads_per_block : :: bincode :: BorrowDecode ::< '_, __Context
            >:: borrow_decode(decoder) ?, shared_per_block : :: bincode ::
            BorrowDecode ::< '_, __Context >:: borrow_decode(decoder) ?,
            shared_reserved : :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, registers_per_block : :: bincode ::
            BorrowDecode ::< '_, __Context >:: borrow_decode(decoder) ?,
            threads_per_multiprocessor : :: bincode :: BorrowDecode ::< '_,
            __Context >:: borrow_decode(decoder) ?, blocks_per_multiprocessor
            : :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, shared_per_multiprocessor : :: bincode
            :: BorrowDecode ::< '_, __Context >:: borrow_decode(decoder) ?,
            registers_per_multiprocessor : :: bincode :: BorrowDecode ::< '_,
            __Context >:: borrow_decode(decoder) ?,
        })
    }
}