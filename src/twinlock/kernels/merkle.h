/* Merkle trees over a block's transaction hashes. */
#ifndef TWINLOCK_MERKLE_H
#define TWINLOCK_MERKLE_H

#include <stdlib.h>

#include "scan_sha256.h"

static inline void merkle_pair(const uint8_t *left, const uint8_t *right, uint8_t *out) {
    sha256_ctx ctx;
    sha256_start(&ctx);
    sha256_more(&ctx, left, 32);
    sha256_more(&ctx, right, 32);
    sha256_end(&ctx, out);
    sha256_again(out);
}

/* 0, -1 without memory, 1 when there is none: no leaves, or two equal neighbours, which would give the root of a
   shorter list as well (CVE-2012-2459). */
static int merkle_root_of(const uint8_t *leaves, size_t count, uint8_t root[32]) {
    if (!count) return 1;
    uint8_t *level = malloc(32 * count);
    if (!level) return -1;
    memcpy(level, leaves, 32 * count);
    int twice = 0;
    for (; count > 1; count = (count + 1) / 2)
        for (size_t i = 0; i < count; i += 2) {
            const uint8_t *left = level + 32 * i, *right = i + 1 < count ? left + 32 : left;
            if (left != right && !memcmp(left, right, 32)) twice = 1;
            merkle_pair(left, right, level + 16 * i);
        }
    memcpy(root, level, 32);
    free(level);
    return twice;
}

/* Of a tree only the levels above groups of leaves are kept: the nodes inside a group are a few hashes' work, and
   seven eighths of the tree. */
#define GROUP_LEVEL 3 /* a group is 1 << 3 leaves */

/* The node at `level` (at most GROUP_LEVEL) that stands over the leaf number `index << level`. */
static void merkle_node(const uint8_t *leaves, size_t count, size_t level, size_t index, uint8_t *out) {
    uint8_t row[32 << GROUP_LEVEL];
    const size_t first = index << level, last = first + ((size_t)1 << level);
    size_t held = (last < count ? last : count) - first;
    memcpy(row, leaves + 32 * first, 32 * held);
    for (; level; level--, held = (held + 1) / 2)
        for (size_t i = 0; i < held; i += 2) merkle_pair(row + 32 * i, row + 32 * (i + 1 < held ? i + 1 : i), row + 16 * i);
    memcpy(out, row, 32);
}

static inline size_t above(size_t count, size_t level) {
    return (count + ((size_t)1 << level) - 1) >> level;
}

#endif
