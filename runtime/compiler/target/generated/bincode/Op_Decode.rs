impl < __Context > :: bincode :: Decode < __Context > for Op
{
    fn decode < __D : :: bincode :: de :: Decoder < Context = __Context > >
    (decoder : & mut __D) ->core :: result :: Result < Self, :: bincode ::
    error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            name : :: bincode :: Decode :: decode(decoder) ?, sizes : ::
            bincode :: Decode :: decode(decoder) ?, inputs : :: bincode ::
            Decode :: decode(decoder) ?, axes : :: bincode :: Decode ::
            decode(decoder) ?, lets : :: bincode :: Decode :: decode(decoder)
            ?, outputs : :: bincode :: Decode :: decode(decoder) ?, exprs : ::
            bincode :: Decode :: decode(decoder) ?,
        })
    }
} impl < '__de, __Context > :: bincode :: BorrowDecode < '__de, __Context >
for Op
{
    fn borrow_decode < __D : :: bincode :: de :: BorrowDecoder < '__de,
    Context = __Context > > (decoder : & mut __D) ->core :: result :: Result <
    Self, :: bincode :: error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            name : :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, sizes : :: bincode :: BorrowDecode ::<
            '_, __Context >:: borrow_decode(decoder) ?, inputs : :: bincode ::
            BorrowDecode ::< '_, __Context >:: borrow_decode(decoder) ?, axes
            : :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, lets : :: bincode :: BorrowDecode ::<
            '_, __Context >:: borrow_decode(decoder) ?, outputs : :: bincode
            :: BorrowDecode ::< '_, __Context >:: borrow_decode(decoder) ?,
            exprs : :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?,
        })
    }
}