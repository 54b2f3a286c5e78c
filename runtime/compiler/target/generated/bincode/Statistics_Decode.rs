impl < __Context > :: bincode :: Decode < __Context > for Statistics
{
    fn decode < __D : :: bincode :: de :: Decoder < Context = __Context > >
    (decoder : & mut __D) ->core :: result :: Result < Self, :: bincode ::
    error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            space : :: bincode :: Decode :: decode(decoder) ?, compiled : ::
            bincode :: Decode :: decode(decoder) ?, timed : :: bincode ::
            Decode :: decode(decoder) ?, energy_measured : :: bincode ::
            Decode :: decode(decoder) ?, predicted : :: bincode :: Decode ::
            decode(decoder) ?, prediction_error : :: bincode :: Decode ::
            decode(decoder) ?, seconds : :: bincode :: Decode ::
            decode(decoder) ?, seed : :: bincode :: Decode :: decode(decoder)
            ?,
        })
    }
} impl < '__de, __Context > :: bincode :: BorrowDecode < '__de, __Context >
for Statistics
{
    fn borrow_decode < __D : :: bincode :: de :: BorrowDecoder < '__de,
    Context = __Context > > (decoder : & mut __D) ->core :: result :: Result <
    Self, :: bincode :: error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            space : :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, compiled : :: bincode :: BorrowDecode
            ::< '_, __Context >:: borrow_decode(decoder) ?, timed : :: bincode
            :: BorrowDecode ::< '_, __Context >:: borrow_decode(decoder) ?,
            energy_measured : :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, predicted : :: bincode :: BorrowDecode
            ::< '_, __Context >:: borrow_decode(decoder) ?, prediction_error :
            :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, seconds : :: bincode :: BorrowDecode ::<
            '_, __Context >:: borrow_decode(decoder) ?, seed : :: bincode ::
            BorrowDecode ::< '_, __Context >:: borrow_decode(decoder) ?,
        })
    }
}