// Groups of pixels, such as connected components: the runs of a block's pixels in the same group.

// Run r is the pixels from first[r] to first[r + 1] - 1 of a block, in the group group[r].
struct Runs {
    int count;
    int first[BLOCK + 1];
    int32_t group[BLOCK];
    bool is_one() const { return count == 1; }
};

INLINE void end_runs(Runs &runs, int n) { runs.first[runs.count] = n; }

// A group that is no group becomes 0, so that it can't reach other memory.
INLINE void start_run(Runs &runs, int first, int64_t group, int64_t group_count) {
    runs.first[runs.count] = first;
    runs.group[runs.count++] = group >= 0 && group < group_count ? static_cast<int32_t>(group) : 0;
}

template <class T> INLINE void find_runs(const T *from, int64_t stride, int n, int64_t group_count, Runs &runs) {
    T ids[BLOCK];
    if (stride == 1)
        memcpy(ids, from, n * sizeof(T));
    else
        for (int i = 0; i < n; i++) ids[i] = element(from + i * stride);
    start_run(runs, 0, static_cast<int64_t>(ids[0]), group_count);
    T differences = 0;
    for (int i = 1; i < n; i++) differences = static_cast<T>(differences | (ids[i] ^ ids[0]));
    if (differences) {
        alignas(8) uint8_t starts[BLOCK] = {};  // 1 where a run starts; eight of them are read at once
        for (int i = 1; i < n; i++) starts[i] = ids[i] != ids[i - 1];
        for (int i = 0; i < n; i += 8) {
            uint64_t some;
            memcpy(&some, starts + i, 8);
            if (!some) continue;
            for (int j = i; j < i + 8; j++)
                if (starts[j]) start_run(runs, j, static_cast<int64_t>(ids[j]), group_count);
        }
    }
    end_runs(runs, n);
}

// Finds the runs of the n pixels from `first` on, at most a block.
INLINE void read_runs(const Batch &batch, int64_t sample, int64_t channel, int64_t first, int n, Runs &runs) {
    runs.count = 0;
#define RUNS(name, T) \
    case Type::name: \
        find_runs(start<const T>(batch.groups, sample, channel, first), batch.groups.pixel_stride, n, batch.group_count, runs); \
        break;
    switch (batch.groups.type) {
        EACH_INTEGER(RUNS)
        default: start_run(runs, 0, 0, 1), end_runs(runs, n);
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
