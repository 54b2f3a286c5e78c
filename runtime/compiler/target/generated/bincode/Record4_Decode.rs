impl < __Context > :: bincode :: Decode < __Context > for Record4
{
    fn decode < __D : :: bincode :: de :: Decoder < Context = __Context > >
    (decoder : & mut __D) ->core :: result :: Result < Self, :: bincode ::
    error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            sizes : :: bincode :: Decode :: decode(decoder) ?, specialisation
            : :: bincode :: Decode :: decode(decoder) ?, front : :: bincode ::
            Decode :: decode(decoder) ?, rejected : :: bincode :: Decode ::
            decode(decoder) ?, statistics : :: bincode :: Decode ::
            decode(decoder) ?, measured_at : :: bincode :: Decode ::
            decode(decoder) ?, energy_measured : :: bincode :: Decode ::
            decode(decoder) ?, space_version : :: bincode :: Decode ::
            decode(decoder) ?,
        })
    }
} impl < '__de, __Context > :: bincode :: BorrowDecode < '__de, __Context >
for Record4
{
    fn borrow_decode < __D : :: bincode :: de :: BorrowDecoder < '__de,
    Context = __Context > > (decoder : & mut __D) ->core :: result :: Result <
    Self, :: bincode :: error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            sizes : :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, specialisation : :: bincode ::
            BorrowDecode ::< '_, __Context >:: borrow_decode(decoder) ?, front
            : :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, rejected : :: bincode :: BorrowDecode
            ::< '_, __Context >:: borrow_decode(decoder) ?, statistics : ::
            bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, measured_at : :: bincode :: BorrowDecode
            ::< '_, __Context >:: borrow_decode(decoder) ?, energy_measured :
            :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, space_version : :: bincode ::
            BorrowDecode ::< '_, __Context >:: borrow_decode(decoder) ?,
        })
    }
}