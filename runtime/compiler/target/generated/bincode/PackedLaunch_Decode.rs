impl < __Context > :: bincode :: Decode < __Context > for PackedLaunch
{
    fn decode < __D : :: bincode :: de :: Decoder < Context = __Context > >
    (decoder : & mut __D) ->core :: result :: Result < Self, :: bincode ::
    error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            entry : :: bincode :: Decode :: decode(decoder) ?, grid : ::
            bincode :: Decode :: decode(decoder) ?, block : :: bincode ::
            Decode :: decode(decoder) ?, cluster : :: bincode :: Decode ::
            decode(decoder) ?, dynamic_shared : :: bincode :: Decode ::
            decode(decoder) ?, parameters : :: bincode :: Decode ::
            decode(decoder) ?,
        })
    }
} impl < '__de, __Context > :: bincode :: BorrowDecode < '__de, __Context >
for PackedLaunch
{
    fn borrow_decode < __D : :: bincode :: de :: BorrowDecoder < '__de,
    Context = __Context > > (decoder : & mut __D) ->core :: result :: Result <
    Self, :: bincode :: error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            entry : :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, grid : :: bincode :: BorrowDecode ::<
            '_, __Context >:: borrow_decode(decoder) ?, block : :: bincode ::
            BorrowDecode ::< '_, __Context >:: borrow_decode(decoder) ?,
            cluster : :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, dynamic_shared : :: bincode ::
            BorrowDecode ::< '_, __Context >:: borrow_decode(decoder) ?,
            parameters : :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?,
        })
    }
}