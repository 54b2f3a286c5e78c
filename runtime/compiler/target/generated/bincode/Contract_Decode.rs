impl < __Context > :: bincode :: Decode < __Context > for Contract
{
    fn decode < __D : :: bincode :: de :: Decoder < Context = __Context > >
    (decoder : & mut __D) ->core :: result :: Result < Self, :: bincode ::
    error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            block_rows : :: bincode :: Decode :: decode(decoder) ?,
            block_columns : :: bincode :: Decode :: decode(decoder) ?,
            block_depth : :: bincode :: Decode :: decode(decoder) ?,
            thread_rows : :: bincode :: Decode :: decode(decoder) ?,
            thread_columns : :: bincode :: Decode :: decode(decoder) ?, stages
            : :: bincode :: Decode :: decode(decoder) ?, blocks : :: bincode
            :: Decode :: decode(decoder) ?, split_k : :: bincode :: Decode ::
            decode(decoder) ?,
        })
    }
} impl < '__de, __Context > :: bincode :: BorrowDecode < '__de, __Context >
for Contract
{
    fn borrow_decode < __D : :: bincode :: de :: BorrowDecoder < '__de,
    Context = __Context > > (decoder : & mut __D) ->core :: result :: Result <
    Self, :: bincode :: error :: DecodeError >
    {
        core :: result :: Result ::
        Ok(Self
        {
            block_rows : :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, block_columns : :: bincode ::
            BorrowDecode ::< '_, __Context >:: borrow_decode(decoder) ?,
            block_depth : :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, thread_rows : :: bincode :: BorrowDecode
            ::< '_, __Context >:: borrow_decode(decoder) ?, thread_columns :
            :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?, stages : :: bincode :: BorrowDecode ::<
            '_, __Context >:: borrow_decode(decoder) ?, blocks : :: bincode ::
            BorrowDecode ::< '_, __Context >:: borrow_decode(decoder) ?,
            split_k : :: bincode :: BorrowDecode ::< '_, __Context >::
            borrow_decode(decoder) ?,
        })
    }
}