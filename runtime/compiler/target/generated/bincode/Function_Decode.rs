impl < __Context > :: bincode :: Decode < __Context > for Function
{
    fn decode < __D : :: bincode :: de :: Decoder < Context = __Context > >
    (decoder : & mut __D) ->core :: result :: Result < Self, :: bincode ::
    error :: DecodeError >
    {
        let variant_index = < u32 as :: bincode :: Decode ::< __D :: Context
        >>:: decode(decoder) ?; match variant_index
        {
            0u32 =>core :: result :: Result :: Ok(Self ::Exp {}), 1u32 =>core
            :: result :: Result :: Ok(Self ::Ln {}), 2u32 =>core :: result ::
            Result :: Ok(Self ::Sqrt {}), 3u32 =>core :: result :: Result ::
            Ok(Self ::Rsqrt {}), 4u32 =>core :: result :: Result ::
            Ok(Self ::Tanh {}), 5u32 =>core :: result :: Result ::
            Ok(Self ::Erf {}), 6u32 =>core :: result :: Result ::
            Ok(Self ::Sin {}), 7u32 =>core :: result :: Result ::
            Ok(Self ::Cos {}), 8u32 =>core :: result :: Result ::
            Ok(Self ::Abs {}), 9u32 =>core :: result :: Result ::
            Ok(Self ::Powi {}), 10u32 =>core :: result :: Result ::
            Ok(Self ::Powf {}), 11u32 =>core :: result :: Result ::
            Ok(Self ::Floor {}), 12u32 =>core :: result :: Result ::
            Ok(Self ::Ceil {}), 13u32 =>core :: result :: Result ::
            Ok(Self ::Round {}), 14u32 =>core :: result :: Result ::
            Ok(Self ::Relu {}), 15u32 =>core :: result :: Result ::
            Ok(Self ::Gelu {}), 16u32 =>core :: result :: Result ::
            Ok(Self ::Silu {}), 17u32 =>core :: result :: Result ::
            Ok(Self ::Sigmoid {}), 18u32 =>core :: result :: Result ::
            Ok(Self ::Tf32 {}), 19u32 =>core :: result :: Result ::
            Ok(Self ::Tf32TowardZero {}), variant =>core :: result :: Result
            ::
            Err(:: bincode :: error :: DecodeError :: UnexpectedVariant
            {
                found : variant, type_name : "Function", allowed : &:: bincode
                :: error :: AllowedEnumVariants :: Range { min: 0, max: 19 }
            })
        }
    }
} impl < '__de, __Context > :: bincode :: BorrowDecode < '__de, __Context >
for Function
{
    fn borrow_decode < __D : :: bincode :: de :: BorrowDecoder < '__de,
    Context = __Context > > (decoder : & mut __D) ->core :: result :: Result <
    Self, :: bincode :: error :: DecodeError >
    {
        let variant_index = < u32 as :: bincode :: Decode ::< __D :: Context
        >>:: decode(decoder) ?; match variant_index
        {
            0u32 =>core :: result :: Result :: Ok(Self ::Exp {}), 1u32 =>core
            :: result :: Result :: Ok(Self ::Ln {}), 2u32 =>core :: result ::
            Result :: Ok(Self ::Sqrt {}), 3u32 =>core :: result :: Result ::
            Ok(Self ::Rsqrt {}), 4u32 =>core :: result :: Result ::
            Ok(Self ::Tanh {}), 5u32 =>core :: result :: Result ::
            Ok(Self ::Erf {}), 6u32 =>core :: result :: Result ::
            Ok(Self ::Sin {}), 7u32 =>core :: result :: Result ::
            Ok(Self ::Cos {}), 8u32 =>core :: result :: Result ::
            Ok(Self ::Abs {}), 9u32 =>core :: result :: Result ::
            Ok(Self ::Powi {}), 10u32 =>core :: result :: Result ::
            Ok(Self ::Powf {}), 11u32 =>core :: result :: Result ::
            Ok(Self ::Floor {}), 12u32 =>core :: result :: Result ::
            Ok(Self ::Ceil {}), 13u32 =>core :: result :: Result ::
            Ok(Self ::Round {}), 14u32 =>core :: result :: Result ::
            Ok(Self ::Relu {}), 15u32 =>core :: result :: Result ::
            Ok(Self ::Gelu {}), 16u32 =>core :: result :: Result ::
            Ok(Self ::Silu {}), 17u32 =>core :: result :: Result ::
            Ok(Self ::Sigmoid {}), 18u32 =>core :: result :: Result ::
            Ok(Self ::Tf32 {}), 19u32 =>core :: result :: Result ::
            Ok(Self ::Tf32TowardZero {}), variant =>core :: result :: Result
            ::
            Err(:: bincode :: error :: DecodeError :: UnexpectedVariant
            {
                found : variant, type_name : "Function", allowed : &:: bincode
                :: error :: AllowedEnumVariants :: Range { min: 0, max: 19 }
            })
        }
    }
}