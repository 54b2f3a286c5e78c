impl < __Context > :: bincode :: Decode < __Context > for Index
{
    fn decode < __D : :: bincode :: de :: Decoder < Context = __Context > >
    (decoder : & mut __D) ->core :: result :: Result < Self, :: bincode ::
    error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            package : :: bincode :: Decode :: decode(decoder) ?, manifest_dir
            : :: bincode :: Decode :: decode(decoder) ?, fingerprints : ::
            bincode :: Decode :: decode(decoder) ?, found : :: bincode ::
            Decode :: decode(decoder) ?,
        })
    }
} impl < '__de, __Context > :: bincode :: BorrowDecode < '__de, __Context >
for Index
{
    fn borrow_decode < __D : :: bincode :: de :: BorrowDecoder < '__de,
    Context = __Context > > (decoder : & mut __D) ->core :: result :: Result <
    Self, :: bincode :: error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            package : :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, manifest_dir : :: bincode ::
            BorrowDecode ::< '_, __Context >:: borrow_decode(decoder) ?,
            fingerprints : :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, found : :: bincode :: BorrowDecode ::<
            '_, __Context >:: borrow_decode(decoder) ?,
        })
    }
}