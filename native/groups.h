// Groups of pixels, such as connected components: the runs of a block's pixels in the same group.

// Run r is the pixels from first[r] to first[r + 1] - 1 of a block, in the group group[r].
struct Runs {
    int count;
    int first[BLOCK + 1];
    int32_t group[BLOCK];
    bool is_one() const { return count == 1; }
};

// A group that is no group becomes 0, so that it can't reach other memory.
INLINE void start_run(Runs &runs, int first, int64_t group, int64_t group_count) {
    runs.first[runs.count] = first;
    runs.group[runs.count++] = group >= 0 && group < group_count ? static_cast<int32_t>(group) : 0;
}

// Calls `visit` with the place of each byte that is not 0, in order.
template <class Function> INLINE void each_set_byte(const uint8_t *bytes, int n, Function visit) {
    for (int i = 0; i < n; i += 8) {
        uint64_t word;
        memcpy(&word, bytes + i, 8);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        word = __builtin_bswap64(word);
#endif
        for (; word; word &= word - 1) visit(i + __builtin_ctzll(word) / 8);
    }
}

// Finds the runs of n pixels; `at(i)` is the id of pixel i.
template <class Function> INLINE void find_runs(int n, int64_t group_count, Runs &runs, Function at) {
    const auto first = at(0);
    auto differences = first;
    differences = 0;
    for (int i = 0; i < n; i++) differences = static_cast<decltype(differences)>(differences | (at(i) ^ first));
    start_run(runs, 0, static_cast<int64_t>(first), group_count);
    if (differences) {
        alignas(64) uint8_t starts[BLOCK];  // 1 where a run starts
        starts[0] = 0;
        for (int i = 1; i < n; i++) starts[i] = at(i) != at(i - 1);
        for (int i = n; i < BLOCK; i++) starts[i] = 0;
        each_set_byte(starts, n, [&](int i) { start_run(runs, i, static_cast<int64_t>(at(i)), group_count); });
    }
    runs.first[runs.count] = n;
}

template <class T> INLINE void find_runs(const T *from, int64_t stride, int n, int64_t group_count, Runs &runs) {
    if (stride == 1 && n == BLOCK)
        find_runs(BLOCK, group_count, runs, [&](int i) { return element(from + i); });
    else
        find_runs(n, group_count, runs, [&](int i) { return element(from + i * stride); });
}

// Finds the runs of the n pixels from `first` on, at most a block. It is called, not inlined, because its code is long.
static __attribute__((noinline)) void read_runs(const Batch &batch, int64_t sample, int64_t channel, int64_t first, int n, Runs &runs) {
    runs.count = 0;
#define RUNS(name, T) \
    case Type::name: \
        find_runs(start<const T>(batch.groups, sample, channel, first), batch.groups.pixel_stride, n, batch.group_count, runs); \
        break;
    switch (batch.groups.type) {
        EACH_INTEGER(RUNS)
        default: break;  // groups are integers
    }
#undef RUNS
}

// Writes a value of each run to its pixels. It writes up to a vector beyond the last one.
template <class Function> INLINE void spread(const Runs &runs, float *to, Function value_of_group) {
    for (int r = 0; r < runs.count; r++) {
        const Floats value = broadcast(value_of_group(runs.group[r]));
        for (int i = runs.first[r]; i < runs.first[r + 1]; i += LANES) store(to + i, value);
    }
}

// Returns a vector whose first `count` lanes are 1, and the others 0.
INLINE Floats first_lanes(int count) {
    alignas(64) static const float ones_and_zeros[2 * 16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    return load(ones_and_zeros + 16 - count);
}
