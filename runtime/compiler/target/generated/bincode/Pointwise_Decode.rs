impl < __Context > :: bincode :: Decode < __Context > for Pointwise
{
    fn decode < __D : :: bincode :: de :: Decoder < Context = __Context > >
    (decoder : & mut __D) ->core :: result :: Result < Self, :: bincode ::
    error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            threads : :: bincode :: Decode :: decode(decoder) ?, vector : ::
            bincode :: Decode :: decode(decoder) ?, unroll : :: bincode ::
            Decode :: decode(decoder) ?, cache : :: bincode :: Decode ::
            decode(decoder) ?, tile : :: bincode :: Decode :: decode(decoder)
            ?, blocks : :: bincode :: Decode :: decode(decoder) ?,
        })
    }
} impl < '__de, __Context > :: bincode :: BorrowDecode < '__de, __Context >
for Pointwise
{
    fn borrow_decode < __D : :: bincode :: de :: BorrowDecoder < '__de,
    Context = __Context > > (decoder : & mut __D) ->core :: result :: Result <
    Self, :: bincode :: error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            threads : :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, vector : :: bincode :: BorrowDecode ::<
            '_, __Context >:: borrow_decode(decoder) ?, unroll : :: bincode ::
            BorrowDecode ::< '_, __Context >:: borrow_decode(decoder) ?, cache
            : :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, tile : :: bincode :: BorrowDecode ::<
            '_, __Context >:: borrow_decode(decoder) ?, blocks : :: bincode ::
            BorrowDecode ::< '_, __Context >:: borrow_decode(decoder) ?,
        })
    }
}