impl < __Context > :: bincode :: Decode < __Context > for Point4
{
    fn decode < __D : :: bincode :: de :: Decoder < Context = __Context > >
    (decoder : & mut __D) ->core :: result :: Result < Self, :: bincode ::
    error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            schedule : :: bincode :: Decode :: decode(decoder) ?, kernel_hash
            : :: bincode :: Decode :: decode(decoder) ?, latency : :: bincode
            :: Decode :: decode(decoder) ?, energy : :: bincode :: Decode ::
            decode(decoder) ?, conditions : :: bincode :: Decode ::
            decode(decoder) ?,
        })
    }
} impl < '__de, __Context > :: bincode :: BorrowDecode < '__de, __Context >
for Point4
{
    fn borrow_decode < __D : :: bincode :: de :: BorrowDecoder < '__de,
    Context = __Context > > (decoder : & mut __D) ->core :: result :: Result <
    Self, :: bincode :: error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            schedule : :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, kernel_hash : :: bincode :: BorrowDecode
            ::< '_, __Context >:: borrow_decode(decoder) ?, latency : ::
            bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, energy : :: bincode :: BorrowDecode ::<
            '_, __Context >:: borrow_decode(decoder) ?, conditions : ::
            bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?,
        })
    }
}