impl < __Context > :: bincode :: Decode < __Context > for Output
{
    fn decode < __D : :: bincode :: de :: Decoder < Context = __Context > >
    (decoder : & mut __D) ->core :: result :: Result < Self, :: bincode ::
    error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            element : :: bincode :: Decode :: decode(decoder) ?, dims : ::
            bincode :: Decode :: decode(decoder) ?, axes : :: bincode ::
            Decode :: decode(decoder) ?, body : :: bincode :: Decode ::
            decode(decoder) ?,
        })
    }
} impl < '__de, __Context > :: bincode :: BorrowDecode < '__de, __Context >
for Output
{
    fn borrow_decode < __D : :: bincode :: de :: BorrowDecoder < '__de,
    Context = __Context > > (decoder : & mut __D) ->core :: result :: Result <
    Self, :: bincode :: error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            element : :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, dims : :: bincode :: BorrowDecode ::<
            '_, __Context >:: borrow_decode(decoder) ?, axes : :: bincode ::
            BorrowDecode ::< '_, __Context >:: borrow_decode(decoder) ?, body
            : :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?,
        })
    }
}