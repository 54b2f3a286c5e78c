impl < __Context > :: bincode :: Decode < __Context > for Bundle
{
    fn decode < __D : :: bincode :: de :: Decoder < Context = __Context > >
    (decoder : & mut __D) ->core :: result :: Result < Self, :: bincode ::
    error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            fingerprint : :: bincode :: Decode :: decode(decoder) ?, operator
            : :: bincode :: Decode :: decode(decoder) ?, objective : ::
            bincode :: Decode :: decode(decoder) ?, kernels : :: bincode ::
            Decode :: decode(decoder) ?, devices : :: bincode :: Decode ::
            decode(decoder) ?,
        })
    }
} impl < '__de, __Context > :: bincode :: BorrowDecode < '__de, __Context >
for Bundle
{
    fn borrow_decode < __D : :: bincode :: de :: BorrowDecoder < '__de,
    Context = __Context > > (decoder : & mut __D) ->core :: result :: Result <
    Self, :: bincode :: error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            fingerprint : :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, operator : :: bincode :: BorrowDecode
            ::< '_, __Context >:: borrow_decode(decoder) ?, objective : ::
            bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, kernels : :: bincode :: BorrowDecode ::<
            '_, __Context >:: borrow_decode(decoder) ?, devices : :: bincode
            :: BorrowDecode ::< '_, __Context >:: borrow_decode(decoder) ?,
        })
    }
}