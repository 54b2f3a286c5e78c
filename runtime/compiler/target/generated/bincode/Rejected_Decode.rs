impl < __Context > :: bincode :: Decode < __Context > for Rejected
{
    fn decode < __D : :: bincode :: de :: Decoder < Context = __Context > >
    (decoder : & mut __D) ->core :: result :: Result < Self, :: bincode ::
    error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            program : :: bincode :: Decode :: decode(decoder) ?, reason : ::
            bincode :: Decode :: decode(decoder) ?, detail : :: bincode ::
            Decode :: decode(decoder) ?,
        })
    }
} impl < '__de, __Context > :: bincode :: BorrowDecode < '__de, __Context >
for Rejected
{
    fn borrow_decode < __D : :: bincode :: de :: BorrowDecoder < '__de,
    Context = __Context > > (decoder : & mut __D) ->core :: result :: Result <
    Self, :: bincode :: error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            program : :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, reason : :: bincode :: BorrowDecode ::<
            '_, __Context >:: borrow_decode(decoder) ?, detail : :: bincode ::
            BorrowDecode ::< '_, __Context >:: borrow_decode(decoder) ?,
        })
    }
}