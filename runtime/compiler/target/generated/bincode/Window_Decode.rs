impl < __Context > :: bincode :: Decode < __Context > for Window
{
    fn decode < __D : :: bincode :: de :: Decoder < Context = __Context > >
    (decoder : & mut __D) ->core :: result :: Result < Self, :: bincode ::
    error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            threads : :: bincode :: Decode :: decode(decoder) ?, rows : ::
            bincode :: Decode :: decode(decoder) ?, columns : :: bincode ::
            Decode :: decode(decoder) ?,
        })
    }
} impl < '__de, __Context > :: bincode :: BorrowDecode < '__de, __Context >
for Window
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
            '_, __Context >:: borrow_decode(decoder) ?, columns : :: bincode
            :: BorrowDecode ::< '_, __Context >:: borrow_decode(decoder) ?,
        })
    }
}