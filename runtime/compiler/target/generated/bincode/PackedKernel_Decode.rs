impl < __Context > :: bincode :: Decode < __Context > for PackedKernel
{
    fn decode < __D : :: bincode :: de :: Decoder < Context = __Context > >
    (decoder : & mut __D) ->core :: result :: Result < Self, :: bincode ::
    error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            ptx : :: bincode :: Decode :: decode(decoder) ?, ptx_bytes : ::
            bincode :: Decode :: decode(decoder) ?, launches : :: bincode ::
            Decode :: decode(decoder) ?, scratch : :: bincode :: Decode ::
            decode(decoder) ?,
        })
    }
} impl < '__de, __Context > :: bincode :: BorrowDecode < '__de, __Context >
for PackedKernel
{
    fn borrow_decode < __D : :: bincode :: de :: BorrowDecoder < '__de,
    Context = __Context > > (decoder : & mut __D) ->core :: result :: Result <
    Self, :: bincode :: error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            ptx : :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, ptx_bytes : :: bincode :: BorrowDecode
            ::< '_, __Context >:: borrow_decode(decoder) ?, launches : ::
            bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, scratch : :: bincode :: BorrowDecode ::<
            '_, __Context >:: borrow_decode(decoder) ?,
        })
    }
}