impl < __Context > :: bincode :: Decode < __Context > for Conditions
{
    fn decode < __D : :: bincode :: de :: Decoder < Context = __Context > >
    (decoder : & mut __D) ->core :: result :: Result < Self, :: bincode ::
    error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            driver : :: bincode :: Decode :: decode(decoder) ?,
            simulated_profile : :: bincode :: Decode :: decode(decoder) ?,
            sm_clock_mhz : :: bincode :: Decode :: decode(decoder) ?,
            memory_clock_mhz : :: bincode :: Decode :: decode(decoder) ?,
            temperature_celsius : :: bincode :: Decode :: decode(decoder) ?,
            power_watts : :: bincode :: Decode :: decode(decoder) ?,
            power_limit_watts : :: bincode :: Decode :: decode(decoder) ?,
            throttle_reasons : :: bincode :: Decode :: decode(decoder) ?,
            window_seconds : :: bincode :: Decode :: decode(decoder) ?,
            launches : :: bincode :: Decode :: decode(decoder) ?, inputs : ::
            bincode :: Decode :: decode(decoder) ?, cache : :: bincode ::
            Decode :: decode(decoder) ?, flags : :: bincode :: Decode ::
            decode(decoder) ?,
        })
    }
} impl < '__de, __Context > :: bincode :: BorrowDecode < '__de, __Context >
for Conditions
{
    fn borrow_decode < __D : :: bincode :: de :: BorrowDecoder < '__de,
    Context = __Context > > (decoder : & mut __D) ->core :: result :: Result <
    Self, :: bincode :: error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            driver : :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, simulated_profile : :: bincode ::
            BorrowDecode ::< '_, __Context >:: borrow_decode(decoder) ?,
            sm_clock_mhz : :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, memory_clock_mhz : :: bincode ::
            BorrowDecode ::< '_, __Context >:: borrow_decode(decoder) ?,
            temperature_celsius : :: bincode :: BorrowDecode ::< '_, __Context
            >:: borrow_decode(decoder) ?, power_watts : :: bincode ::
            BorrowDecode ::< '_, __Context >:: borrow_decode(decoder) ?,
            power_limit_watts : :: bincode :: BorrowDecode ::< '_, __Context
            >:: borrow_decode(decoder) ?, throttle_reasons : :: bincode ::
            BorrowDecode ::< '_, __Context >:: borrow_decode(decoder) ?,
            window_seconds : :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, launches : :: bincode :: BorrowDecode
            ::< '_, __Context >:: borrow_decode(decoder) ?, inputs : ::
            bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, cache : :: bincode :: BorrowDecode ::<
            '_, __Context >:: borrow_decode(decoder) ?, flags : :: bincode ::
            BorrowDecode ::< '_, __Context >:: borrow_decode(decoder) ?,
        })
    }
}