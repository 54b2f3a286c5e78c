impl < __Context > :: bincode :: Decode < __Context > for Specialisation
{
    fn decode < __D : :: bincode :: de :: Decoder < Context = __Context > >
    (decoder : & mut __D) ->core :: result :: Result < Self, :: bincode ::
    error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            extents : :: bincode :: Decode :: decode(decoder) ?, aligned : ::
            bincode :: Decode :: decode(decoder) ?, wide : :: bincode ::
            Decode :: decode(decoder) ?, check_indices : :: bincode :: Decode
            :: decode(decoder) ?,
        })
    }
} impl < '__de, __Context > :: bincode :: BorrowDecode < '__de, __Context >
for Specialisation
{
    fn borrow_decode < __D : :: bincode :: de :: BorrowDecoder < '__de,
    Context = __Context > > (decoder : & mut __D) ->core :: result :: Result <
    Self, :: bincode :: error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            extents : :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, aligned : :: bincode :: BorrowDecode ::<
            '_, __Context >:: borrow_decode(decoder) ?, wide : :: bincode ::
            BorrowDecode ::< '_, __Context >:: borrow_decode(decoder) ?,
            check_indices : :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?,
        })
    }
}