// Reads and writes blocks of pixels, with elements of any type and stride.

INLINE float float_of_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}
INLINE uint32_t bits_of_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return bits;
}

INLINE float as_float(float value) { return value; }
INLINE float as_float(BFloat16 value) { return float_of_bits(static_cast<uint32_t>(value.bits) << 16); }

// All bits if a condition holds. Compilers turn it into vectors, and `condition ? a : b` into branches.
INLINE uint32_t mask(bool condition) { return 0u - static_cast<uint32_t>(condition); }

// Moves the fields of float16 to their places in float32. A denormal is read as 2^-14 (1 + f), and the
// 1 is subtracted: no step has a denormal float32, which a processor may flush to zero.
INLINE float as_float(Half value) {
    const uint32_t sign = (value.bits & 0x8000u) << 16, fields = (value.bits & 0x7fffu) << 13;
    const uint32_t denormal = mask(fields < 1u << 23), special = mask(fields >= 31u << 23);
    const uint32_t exponent = ((127 - 15) << 23) + (denormal & 1 << 23) + (special & (127 - 15) << 23);
    const float size = float_of_bits(fields + exponent) - float_of_bits(denormal & (127 - 14) << 23);
    return float_of_bits(sign | bits_of_float(size));
}
INLINE float as_float(Boolean value) { return value.byte ? 1.f : 0.f; }
template <class T> INLINE float as_float(T value) { return static_cast<float>(value); }

// Converts a value to a label. NaN and numbers that are too large give a label that is never in range.
INLINE int64_t label_of(Boolean value) { return value.byte != 0; }
template <class T> INLINE int64_t label_of(T value) {
    if constexpr (std::is_integral<T>::value) {
        return value;
    } else if constexpr (std::is_same<T, double>::value) {
        return value > -0x1p63 && value < 0x1p63 ? static_cast<int64_t>(value) : INT64_MIN;
    } else {
        const float label = as_float(value);
        return label > -0x1p63f && label < 0x1p63f ? static_cast<int64_t>(label) : INT64_MIN;
    }
}

INLINE void assign(float &to, float value) { to = value; }
INLINE void assign(BFloat16 &to, float value) {
    const uint32_t bits = bits_of_float(value);
    const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    to.bits = value == value ? static_cast<uint16_t>(rounded) : 0x7fc0;
}
// Rounds to the nearest, and a tie to even: the sum with 2^13 times the power of two below a number keeps
// the bits that float16 has. From 2^16 on all numbers are infinite.
INLINE void assign(Half &to, float value) {
    const uint32_t bits = bits_of_float(value), sign = bits & 0x80000000u, size = bits ^ sign;
    const uint32_t most = (127 + 16) << 23, least = (127 - 14) << 23;
    const uint32_t large = mask(size > most), small = mask(size < least), nan = mask(size > 0x7f800000u);
    const uint32_t bounded = (size & ~large) | (most & large);
    const uint32_t exponent = ((bounded & ~small) | (least & small)) & 0x7f800000u, scale = exponent + (13 << 23);
    const uint32_t mantissa = bits_of_float(float_of_bits(bounded) + float_of_bits(scale)) - scale;
    to.bits = static_cast<uint16_t>(sign >> 16 | (((exponent - least) >> 13) + mantissa) | (nan & 0x200));
}

template <class T> INLINE T *start(const Tensor &tensor, int64_t sample, int64_t channel, int64_t first) {
    return reinterpret_cast<T *>(tensor.data) + sample * tensor.sample_stride + channel * tensor.channel_stride +
           first * tensor.pixel_stride;
}

// Reads an element. It may be unaligned, since tensors may share memory with other libraries.
template <class T> INLINE T element(const T *at) {
    T value;
    memcpy(&value, at, sizeof(T));
    return value;
}

template <class T> INLINE void copy(const T *from, int64_t stride, int n, float *to) {
    if (stride == 1)
        for (int i = 0; i < n; i++) to[i] = as_float(element(from + i));
    else
        for (int i = 0; i < n; i++) to[i] = as_float(element(from + i * stride));
}

CALLED void read(const Tensor &tensor, int64_t sample, int64_t channel, int64_t first, int n, float *to) {
#define READ(name, T) \
    case Type::name: copy(start<const T>(tensor, sample, channel, first), tensor.pixel_stride, n, to); break;
    switch (tensor.type) { EACH_TYPE(READ) }
#undef READ
}

template <class T> INLINE void put(const float *from, int n, T *to, int64_t stride) {
    const auto put_element = [&](T *at, float value) {
        T converted;
        assign(converted, value);
        memcpy(at, &converted, sizeof(T));
    };
    if (stride == 1)
        for (int i = 0; i < n; i++) put_element(to + i, from[i]);
    else
        for (int i = 0; i < n; i++) put_element(to + i * stride, from[i]);
}

CALLED void write(const float *from, const Tensor &tensor, int64_t sample, int64_t channel, int64_t first, int n) {
#define WRITE(name, T) \
    case Type::name: put(from, n, start<T>(tensor, sample, channel, first), tensor.pixel_stride); break;
    switch (tensor.type) { EACH_REAL(WRITE) default: break; }
#undef WRITE
}

// Returns whether vectors of float32 can be read and written in place.
INLINE bool is_direct(const Tensor &tensor) {
    return tensor.type == Type::float32 && tensor.pixel_stride == 1 &&
           reinterpret_cast<uintptr_t>(tensor.data) % sizeof(float) == 0;
}

INLINE int padded(int n) { return (n + LANES - 1) / LANES * LANES; }

// Reads the weights of a block: 1 if there is no tensor of weights, and 0 for the padding.
INLINE void read_weights(const Batch &batch, int64_t sample, int64_t channel, int64_t first, int n, float *weights) {
    if (batch.weight.given)
        read(batch.weight, sample, channel, first, n, weights);
    else
        for (int i = 0; i < n; i++) weights[i] = 1.f;
    for (int i = n; i < padded(n); i++) weights[i] = 0.f;
}

// Sets values of weight 0 to 0. They may be NaN, which a product with 0 would keep.
INLINE void clear_unweighted(float *values, const float *weights, int n) {
    for (int i = 0; i < padded(n); i++) values[i] = weights[i] != 0.f ? values[i] : 0.f;
}
