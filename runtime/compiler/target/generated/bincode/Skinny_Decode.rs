impl < __Context > :: bincode :: Decode < __Context > for Skinny
{
    fn decode < __D : :: bincode :: de :: Decoder < Context = __Context > >
    (decoder : & mut __D) ->core :: result :: Result < Self, :: bincode ::
    error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            rows : :: bincode :: Decode :: decode(decoder) ?, columns : ::
            bincode :: Decode :: decode(decoder) ?, vector : :: bincode ::
            Decode :: decode(decoder) ?, lanes : :: bincode :: Decode ::
            decode(decoder) ?, warps : :: bincode :: Decode :: decode(decoder)
            ?, unroll : :: bincode :: Decode :: decode(decoder) ?, cache : ::
            bincode :: Decode :: decode(decoder) ?,
        })
    }
} impl < '__de, __Context > :: bincode :: BorrowDecode < '__de, __Context >
for Skinny
{
    fn borrow_decode < __D : :: bincode :: de :: BorrowDecoder < '__de,
    Context = __Context > > (decoder : & mut __D) ->core :: result :: Result <
    Self, :: bincode :: error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            rows : :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, columns : :: bincode :: BorrowDecode ::<
            '_, __Context >:: borrow_decode(decoder) ?, vector : :: bincode ::
            BorrowDecode ::< '_, __Context >:: borrow_decode(decoder) ?, lanes
            : :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, warps : :: bincode :: BorrowDecode ::<
            '_, __Context >:: borrow_decode(decoder) ?, unroll : :: bincode ::
            BorrowDecode ::< '_, __Context >:: borrow_decode(decoder) ?, cache
            : :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?,
        })
    }
}