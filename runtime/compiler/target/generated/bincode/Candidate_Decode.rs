impl < __Context > :: bincode :: Decode < __Context > for Candidate
{
    fn decode < __D : :: bincode :: de :: Decoder < Context = __Context > >
    (decoder : & mut __D) ->core :: result :: Result < Self, :: bincode ::
    error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            point : :: bincode :: Decode :: decode(decoder) ?, kernel : ::
            bincode :: Decode :: decode(decoder) ?, stale : :: bincode ::
            Decode :: decode(decoder) ?,
        })
    }
} impl < '__de, __Context > :: bincode :: BorrowDecode < '__de, __Context >
for Candidate
{
    fn borrow_decode < __D : :: bincode :: de :: BorrowDecoder < '__de,
    Context = __Context > > (decoder : & mut __D) ->core :: result :: Result <
    Self, :: bincode :: error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            point : :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, kernel : :: bincode :: BorrowDecode ::<
            '_, __Context >:: borrow_decode(decoder) ?, stale : :: bincode ::
            BorrowDecode ::< '_, __Context >:: borrow_decode(decoder) ?,
        })
    }
}