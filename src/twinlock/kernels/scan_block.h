/* Walks over a raw block and calls a visitor for what it meets. The twin of scan_plain.py. */
#ifndef TWINLOCK_SCAN_BLOCK_H
#define TWINLOCK_SCAN_BLOCK_H

#include "scan_sha256.h"

#define HASHX 11

typedef struct {
    const uint8_t *at, *end;
    int bad;   /* something was cut short or announced more than there is */
    int alone; /* nothing follows the transaction, which may then carry a whole MWEB part, up to its lock time */
} reader;

/* `count` comes first, with the offset of the first transaction; then for each transaction `input` and `output` as they
   come, and `tx` with its hash and the offset of its end. Each gives 0, or -1 where memory ran out. */
typedef struct visitor visitor;
struct visitor {
    int (*count)(visitor *, uint64_t txs, uint32_t offset);
    int (*input)(visitor *, uint32_t index, const uint8_t *point); /* 36 bytes */
    int (*output)(visitor *, uint32_t index, uint32_t vout, uint64_t value, const uint8_t *script, size_t size);
    int (*tx)(visitor *, uint32_t end, const uint8_t txid[32]);
};

static inline const uint8_t *take(reader *r, uint64_t size) {
    if (r->bad || size > (uint64_t)(r->end - r->at)) {
        r->bad = 1;
        return NULL;
    }
    const uint8_t *piece = r->at;
    r->at += size;
    return piece;
}

static inline uint64_t number(reader *r, int size) {
    uint64_t value = 0;
    const uint8_t *piece = take(r, (uint64_t)size);
    if (piece) memcpy(&value, piece, (size_t)size); /* little-endian machines only, checked in setup */
    return value;
}

static inline uint64_t varint(reader *r) {
    uint64_t first = number(r, 1);
    return first < 0xFD ? first : number(r, 1 << (first - 0xFC));
}

/* A count of things of at least `least` bytes each. */
static inline uint64_t counted(reader *r, uint64_t least) {
    uint64_t value = varint(r);
    if (value > (uint64_t)(r->end - r->at) / least) r->bad = 1;
    return r->bad ? 0 : value;
}

static inline int null_hash(const uint8_t *hash) {
    uint64_t word[4];
    memcpy(word, hash, 32);
    return !(word[0] | word[1] | word[2] | word[3]);
}

static inline int unspendable(const uint8_t *script, size_t size) {
    return (size && script[0] == 0x6a) || (size > 1 && script[0] == 0 && script[1] == 0x6a);
}

/* One transaction; the visitor may be NULL. 0, also for bad bytes (r->bad is set), or -1 when the visitor refused. */
static inline int walk_tx(reader *r, visitor *v, uint32_t index, const uint8_t *block) {
    const uint8_t *start = r->at, *version = take(r, 4);
    unsigned flag = 0;
    if (r->end - r->at >= 2 && r->at[0] == 0 && r->at[1] != 0) {
        flag = r->at[1];
        r->at += 2;
    }
    const uint8_t *core = r->at;
    uint64_t inputs = counted(r, 41);
    for (uint64_t i = 0; i < inputs && !r->bad; i++) {
        const uint8_t *point = take(r, 36);
        take(r, varint(r));
        take(r, 4);
        if (v && !r->bad && !null_hash(point) && v->input(v, index, point) < 0) return -1;
    }
    uint64_t outputs = counted(r, 9);
    for (uint64_t i = 0; i < outputs && !r->bad; i++) {
        uint64_t value = number(r, 8), size = varint(r);
        const uint8_t *script = take(r, size);
        if (v && !r->bad && !unspendable(script, size) && v->output(v, index, (uint32_t)i, value, script, size) < 0) return -1;
    }
    size_t core_size = (size_t)(r->at - core);
    if (flag & 1)
        for (uint64_t i = 0; i < inputs && !r->bad; i++)
            for (uint64_t items = counted(r, 1); items && !r->bad; items--) take(r, varint(r));
    if (flag & ~9u) r->bad = 1;
    if (flag & 8 && r->alone && !r->bad && r->end - r->at > 4)
        r->at = r->end - 4;
    else if (flag & 8 && number(r, 1) != 0)
        r->bad = 1;
    const uint8_t *lock = take(r, 4);
    if (r->bad) return 0;
    if (v) {
        uint8_t txid[32];
        sha256_ctx ctx;
        sha256_start(&ctx);
        if (flag) {
            sha256_more(&ctx, version, 4);
            sha256_more(&ctx, core, core_size);
            sha256_more(&ctx, lock, 4);
        } else
            sha256_more(&ctx, start, (size_t)(r->at - start));
        sha256_end(&ctx, txid);
        sha256_again(txid);
        if (v->tx(v, (uint32_t)(r->at - block), txid) < 0) return -1;
    }
    return 0;
}

static inline void walk_auxpow(reader *r) {
    walk_tx(r, NULL, 0, r->at);
    take(r, 32);
    for (int i = 0; i < 2; i++) {
        take(r, 32 * counted(r, 32));
        take(r, 4);
    }
    take(r, 80);
}

/* The whole block. Gives the size of its header in *header; 0 for a good one, -1 when the visitor refused, 1 for bad bytes. */
static inline int walk_block(const uint8_t *raw, size_t size, int auxpow, visitor *v, size_t *header) {
    reader r = {raw, raw + size, size > UINT32_MAX, 0};
    const uint8_t *head = take(&r, 80);
    if (head && auxpow && head[1] & 1) walk_auxpow(&r);
    *header = (size_t)(r.at - raw);
    uint64_t txs = counted(&r, 10);
    if (r.bad) return 1;
    if (v->count(v, txs, (uint32_t)(r.at - raw)) < 0) return -1;
    for (uint64_t i = 0; i < txs && !r.bad; i++)
        if (walk_tx(&r, v, (uint32_t)i, raw) < 0) return -1;
    return r.bad;
}

#endif
