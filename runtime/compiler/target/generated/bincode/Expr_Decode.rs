impl < __Context > :: bincode :: Decode < __Context > for Expr
{
    fn decode < __D : :: bincode :: de :: Decoder < Context = __Context > >
    (decoder : & mut __D) ->core :: result :: Result < Self, :: bincode ::
    error :: DecodeError >
    {
        let variant_index = < u32 as :: bincode :: Decode ::< __D :: Context
        >>:: decode(decoder) ?; match variant_index
        {
            0u32 =>core :: result :: Result ::
            Ok(Self ::Literal
            {
                0 : :: bincode :: Decode ::< __D :: Context >::
                decode(decoder) ?,
            }), 1u32 =>core :: result :: Result ::
            Ok(Self ::Size
            {
                0 : :: bincode :: Decode ::< __D :: Context >::
                decode(decoder) ?,
            }), 2u32 =>core :: result :: Result ::
            Ok(Self ::Axis
            {
                0 : :: bincode :: Decode ::< __D :: Context >::
                decode(decoder) ?,
            }), 3u32 =>core :: result :: Result ::
            Ok(Self ::Scalar
            {
                0 : :: bincode :: Decode ::< __D :: Context >::
                decode(decoder) ?,
            }), 4u32 =>core :: result :: Result ::
            Ok(Self ::Read
            {
                source : :: bincode :: Decode ::< __D :: Context >::
                decode(decoder) ?, index : :: bincode :: Decode ::< __D ::
                Context >:: decode(decoder) ?, or : :: bincode :: Decode ::<
                __D :: Context >:: decode(decoder) ?,
            }), 5u32 =>core :: result :: Result ::
            Ok(Self ::Unary
            {
                0 : :: bincode :: Decode ::< __D :: Context >::
                decode(decoder) ?, 1 : :: bincode :: Decode ::< __D :: Context
                >:: decode(decoder) ?,
            }), 6u32 =>core :: result :: Result ::
            Ok(Self ::Binary
            {
                0 : :: bincode :: Decode ::< __D :: Context >::
                decode(decoder) ?, 1 : :: bincode :: Decode ::< __D :: Context
                >:: decode(decoder) ?, 2 : :: bincode :: Decode ::< __D ::
                Context >:: decode(decoder) ?,
            }), 7u32 =>core :: result :: Result ::
            Ok(Self ::Compare
            {
                0 : :: bincode :: Decode ::< __D :: Context >::
                decode(decoder) ?, 1 : :: bincode :: Decode ::< __D :: Context
                >:: decode(decoder) ?, 2 : :: bincode :: Decode ::< __D ::
                Context >:: decode(decoder) ?,
            }), 8u32 =>core :: result :: Result ::
            Ok(Self ::Select
            {
                condition : :: bincode :: Decode ::< __D :: Context >::
                decode(decoder) ?, accept : :: bincode :: Decode ::< __D ::
                Context >:: decode(decoder) ?, reject : :: bincode :: Decode
                ::< __D :: Context >:: decode(decoder) ?,
            }), 9u32 =>core :: result :: Result ::
            Ok(Self ::Cast
            {
                0 : :: bincode :: Decode ::< __D :: Context >::
                decode(decoder) ?, 1 : :: bincode :: Decode ::< __D :: Context
                >:: decode(decoder) ?,
            }), 10u32 =>core :: result :: Result ::
            Ok(Self ::Call
            {
                0 : :: bincode :: Decode ::< __D :: Context >::
                decode(decoder) ?, 1 : :: bincode :: Decode ::< __D :: Context
                >:: decode(decoder) ?,
            }), 11u32 =>core :: result :: Result ::
            Ok(Self ::Reduce
            {
                op : :: bincode :: Decode ::< __D :: Context >::
                decode(decoder) ?, axes : :: bincode :: Decode ::< __D ::
                Context >:: decode(decoder) ?, body : :: bincode :: Decode ::<
                __D :: Context >:: decode(decoder) ?,
            }), variant =>core :: result :: Result ::
            Err(:: bincode :: error :: DecodeError :: UnexpectedVariant
            {
                found : variant, type_name : "Expr", allowed : &:: bincode ::
                error :: AllowedEnumVariants :: Range { min: 0, max: 11 }
            })
        }
    }
} impl < '__de, __Context > :: bincode :: BorrowDecode < '__de, __Context >
for Expr
{
    fn borrow_decode < __D : :: bincode :: de :: BorrowDecoder < '__de,
    Context = __Context > > (decoder : & mut __D) ->core :: result :: Result <
    Self, :: bincode :: error :: DecodeError >
    {
        let variant_index = < u32 as :: bincode :: Decode ::< __D :: Context
        >>:: decode(decoder) ?; match variant_index
        {
            0u32 =>core :: result :: Result ::
            Ok(Self ::Literal
            {
                0 : :: bincode :: BorrowDecode ::< __D :: Context >::
                borrow_decode(decoder) ?,
            }), 1u32 =>core :: result :: Result ::
            Ok(Self ::Size
            {
                0 : :: bincode :: BorrowDecode ::< __D :: Context >::
                borrow_decode(decoder) ?,
            }), 2u32 =>core :: result :: Result ::
            Ok(Self ::Axis
            {
                0 : :: bincode :: BorrowDecode ::< __D :: Context >::
                borrow_decode(decoder) ?,
            }), 3u32 =>core :: result :: Result ::
            Ok(Self ::Scalar
            {
                0 : :: bincode :: BorrowDecode ::< __D :: Context >::
                borrow_decode(decoder) ?,
            }), 4u32 =>core :: result :: Result ::
            Ok(Self ::Read
            {
                source : :: bincode :: BorrowDecode ::< __D :: Context >::
                borrow_decode(decoder) ?, index : :: bincode :: BorrowDecode
                ::< __D :: Context >:: borrow_decode(decoder) ?, or : ::
                bincode :: BorrowDecode ::< __D :: Context >::
                borrow_decode(decoder) ?,
            }), 5u32 =>core :: result :: Result ::
            Ok(Self ::Unary
            {
                0 : :: bincode :: BorrowDecode ::< __D :: Context >::
                borrow_decode(decoder) ?, 1 : :: bincode :: BorrowDecode ::<
                __D :: Context >:: borrow_decode(decoder) ?,
            }), 6u32 =>core :: result :: Result ::
            Ok(Self ::Binary
            {
                0 : :: bincode :: BorrowDecode ::< __D :: Context >::
                borrow_decode(decoder) ?, 1 : :: bincode :: BorrowDecode ::<
                __D :: Context >:: borrow_decode(decoder) ?, 2 : :: bincode ::
                BorrowDecode ::< __D :: Context >:: borrow_decode(decoder) ?,
            }), 7u32 =>core :: result :: Result ::
            Ok(Self ::Compare
            {
                0 : :: bincode :: BorrowDecode ::< __D :: Context >::
                borrow_decode(decoder) ?, 1 : :: bincode :: BorrowDecode ::<
                __D :: Context >:: borrow_decode(decoder) ?, 2 : :: bincode ::
                BorrowDecode ::< __D :: Context >:: borrow_decode(decoder) ?,
            }), 8u32 =>core :: result :: Result ::
            Ok(Self ::Select
            {
                condition : :: bincode :: BorrowDecode ::< __D :: Context >::
                borrow_decode(decoder) ?, accept : :: bincode :: BorrowDecode
                ::< __D :: Context >:: borrow_decode(decoder) ?, reject : ::
                bincode :: BorrowDecode ::< __D :: Context >::
                borrow_decode(decoder) ?,
            }), 9u32 =>core :: result :: Result ::
            Ok(Self ::Cast
            {
                0 : :: bincode :: BorrowDecode ::< __D :: Context >::
                borrow_decode(decoder) ?, 1 : :: bincode :: BorrowDecode ::<
                __D :: Context >:: borrow_decode(decoder) ?,
            }), 10u32 =>core :: result :: Result ::
            Ok(Self ::Call
            {
                0 : :: bincode :: BorrowDecode ::< __D :: Context >::
                borrow_decode(decoder) ?, 1 : :: bincode :: BorrowDecode ::<
                __D :: Context >:: borrow_decode(decoder) ?,
            }), 11u32 =>core :: result :: Result ::
            Ok(Self ::Reduce
            {
                op : :: bincode :: BorrowDecode ::< __D :: Context >::
                borrow_decode(decoder) ?, axes : :: bincode :: BorrowDecode
                ::< __D :: Context >:: borrow_decode(decoder) ?, body : ::
                bincode :: BorrowDecode ::< __D :: Context >::
                borrow_decode(decoder) ?,
            }), variant =>core :: result :: Result ::
            Err(:: bincode :: error :: DecodeError :: UnexpectedVariant
            {
                found : variant, type_name : "Expr", allowed : &:: bincode ::
                error :: AllowedEnumVariants :: Range { min: 0, max: 11 }
            })
        }
    }
}