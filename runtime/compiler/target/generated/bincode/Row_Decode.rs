impl < __Context > :: bincode :: Decode < __Context > for Row
{
    fn decode < __D : :: bincode :: de :: Decoder < Context = __Context > >
    (decoder : & mut __D) ->core :: result :: Result < Self, :: bincode ::
    error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            threads : :: bincode :: Decode :: decode(decoder) ?, rows : ::
            bincode :: Decode :: decode(decoder) ?, vector : :: bincode ::
            Decode :: decode(decoder) ?, keep : :: bincode :: Decode ::
            decode(decoder) ?, unroll : :: bincode :: Decode ::
            decode(decoder) ?, pass : :: bincode :: Decode :: decode(decoder)
            ?,
        })
    }
} impl < '__de, __Context > :: bincode :: BorrowDecode < '__de, __Context >
for Row
{
    fn borrow_decode < __D : :: bincode :: de :: BorrowDecoder < '__de,
    Context = __Context > > (decoder : & mut __D) ->core :: result :: Result <
    Self, :: bincode :: error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            threads : :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, rows : :: bincode :: BorrowDecode ::<
            '_, __Context >:: borrow_decode(decoder) ?, vector : :: bincode ::
            BorrowDecode ::< '_, __Context >:: borrow_decode(decoder) ?, keep
            : :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, unroll : :: bincode :: BorrowDecode ::<
            '_, __Context >:: borrow_decode(decoder) ?, pass : :: bincode ::
            BorrowDecode ::< '_, __Context >:: borrow_decode(decoder) ?,
        })
    }
}