// Groups of pixels, such as connected components: the groups of a block's pixels.
//
// Most blocks have one group. In the others, most vectors have the block's main group only.

struct alignas(64) BlockGroups {
    int64_t count;       // of the groups in the batch
    bool is_one;         // true if all pixels have the main id; then `ids` are not written
    int32_t main;        // the id of most pixels, as a rule
    int32_t ids[BLOCK];  // of the pixels, with the main id as padding; they need not be groups

    // Returns the group of an id: 0 if it is not a group, so that it can't reach other memory.
    int32_t group(int32_t id) const { return static_cast<uint32_t>(id) < count ? id : 0; }
    int32_t main_group() const { return group(main); }
};

INLINE int32_t narrowed(int32_t id) { return id; }
INLINE int32_t narrowed(int64_t id) { return id == static_cast<int32_t>(id) ? static_cast<int32_t>(id) : -1; }

// Writes the groups of n pixels; `at(i)` is the id of pixel i.
template <class Function> INLINE void find_groups(int n, BlockGroups &groups, Function at) {
    const auto first = at(0);
    auto differences = first;
    differences = 0;
    for (int i = 0; i < n; i++) differences = static_cast<decltype(differences)>(differences | (at(i) ^ first));
    groups.is_one = !differences;
    groups.main = narrowed(first == at(n - 1) ? first : at(n / 2));
    if (groups.is_one) return;
    for (int i = 0; i < n; i++) groups.ids[i] = narrowed(at(i));
    for (int i = n; i < padded(n); i++) groups.ids[i] = groups.main;
}

template <class T> INLINE void find_groups(const T *from, int64_t stride, int n, BlockGroups &groups) {
    if (stride == 1 && n == BLOCK)
        find_groups(BLOCK, groups, [&](int i) { return element(from + i); });
    else
        find_groups(n, groups, [&](int i) { return element(from + i * stride); });
}

// Reads the groups of the n pixels from `first` on, at most a block.
CALLED void read_groups(const Batch &batch, int64_t sample, int64_t channel, int64_t first, int n,
                        BlockGroups &groups) {
    groups.count = batch.group_count;
#define GROUPS(name, T) \
    case Type::name: \
        find_groups(start<const T>(batch.groups, sample, channel, first), batch.groups.pixel_stride, n, groups); \
        break;
    switch (batch.groups.type) {
        EACH_INTEGER(GROUPS)
        default: break;  // groups are integers
    }
#undef GROUPS
}

// Calls `visit` with each group of a vector's pixels but the main group, and a mask of its pixels.
template <class Function> INLINE void each_other_group(const BlockGroups &groups, int i, Function visit) {
    const Ints ids = load(groups.ids + i);
    for (uint32_t rest = lanes_of(ids != groups.main); rest;) {
        const int32_t id = groups.ids[i + __builtin_ctz(rest)];
        const Ints has_id = ids == id;
        rest &= ~lanes_of(has_id);
        visit(groups.group(id), has_id);
    }
}
