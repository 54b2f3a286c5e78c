impl < __Context > :: bincode :: Decode < __Context > for CacheFile
{
    fn decode < __D : :: bincode :: de :: Decoder < Context = __Context > >
    (decoder : & mut __D) ->core :: result :: Result < Self, :: bincode ::
    error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            fingerprint : :: bincode :: Decode :: decode(decoder) ?, operator
            : :: bincode :: Decode :: decode(decoder) ?, size_names : ::
            bincode :: Decode :: decode(decoder) ?, device : :: bincode ::
            Decode :: decode(decoder) ?, records : :: bincode :: Decode ::
            decode(decoder) ?,
        })
    }
} impl < '__de, __Context > :: bincode :: BorrowDecode < '__de, __Context >
for CacheFile
{
    fn borrow_decode < __D : :: bincode :: de :: BorrowDecoder < '__de,
    Context = __Context > > (decoder : & mut __D) ->core :: result :: Result <
    Self, :: bincode :: error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            fingerprint : :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, operator : :: bincode :: BorrowDecode
            ::< '_, __Context >:: borrow_decode(decoder) ?, size_names : ::
            bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, device : :: bincode :: BorrowDecode ::<
            '_, __Context >:: borrow_decode(decoder) ?, records : :: bincode
            :: BorrowDecode ::< '_, __Context >:: borrow_decode(decoder) ?,
        })
    }
}