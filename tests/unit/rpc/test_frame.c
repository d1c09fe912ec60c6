/* The frame parser: what is valid comes back whole in any pieces, everything else is refused, and memory stays bounded.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/prng.h"
#include "rpc/frame.h"

static void append_frame(struct bytes *b, struct frame_header h, struct slice message, struct slice payload)
{
    h.message_size = (uint32_t)message.size;
    h.payload_size = (uint32_t)payload.size;
    uint8_t head[FRAME_HEADER_SIZE];
    frame_header_encode(&h, message, head);
    bytes_append(b, SLICE(head, sizeof head));
    bytes_append(b, message);
    bytes_append(b, payload);
}

static void feed(struct frame_parser *p, struct slice s)
{
    size_t room, at = 0;
    do {
        uint8_t *to = frame_parser_room(p, s.size - at, &room);
        size_t size = MIN(room, s.size - at);
        assert_true(size > 0 || s.size == 0);
        if (size > 0)
            memcpy(to, s.data + at, size);
        frame_parser_fed(p, size);
        at += size;
    } while (at < s.size);
}

static void test_layout(void **state)
{
    (void)state;
    static const uint8_t expected[28] = {'S',  'U',  'R',  'F',  1,    3,    0, 0, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06,
                                         0x07, 0x08, 0x01, 0x02, 0x00, 0x2a, 0, 0, 0,    2,    0,    0,    0,    3};
    struct bytes b = {0};
    append_frame(&b, (struct frame_header){FRAME_RESPONSE, 0, UINT64_C(0x0102030405060708), 0x0102, 0x2a, 0, 0},
                 slice_str("ab"), slice_str("xyz"));
    assert_int_equal(b.size, 32 + 2 + 3);
    assert_memory_equal(b.data, expected, sizeof expected);
    bytes_free(&b);
}

/* A stream of frames of all types and many sizes, cut into random pieces. */
static void test_round_trip_in_any_pieces(void **state)
{
    (void)state;
    enum { FRAMES = 300, NOISE = 150007 };
    static const size_t sizes[] = {0, 1, 31, 200, 5000, 40000, 150000};
    struct prng p;
    uint8_t *noise = mem_alloc(NOISE);
    prng_seed(&p, 31);
    for (size_t i = 0; i < NOISE; i++)
        noise[i] = (uint8_t)prng_next(&p);
    for (int round = 0; round < 6; round++) {
        static struct frame_header headers[FRAMES];
        struct bytes stream = {0};
        for (int i = 0; i < FRAMES; i++) {
            enum frame_type type = (enum frame_type)prng_between(&p, FRAME_HELLO, FRAME_PONG);
            bool bare = type >= FRAME_CANCEL;
            headers[i] = (struct frame_header){
                .type = type,
                .id = prng_next(&p),
                .method = (uint16_t)prng_next(&p),
                .status = type == FRAME_RESPONSE ? (uint16_t)prng_below(&p, 200) : 0,
                .message_size = bare ? 0 : (uint32_t)sizes[prng_below(&p, 5)],
                .payload_size = bare || type == FRAME_HELLO ? 0 : (uint32_t)sizes[prng_below(&p, 7)],
            };
            append_frame(&stream, headers[i], SLICE(noise, headers[i].message_size),
                         SLICE(noise + 7, headers[i].payload_size));
        }
        struct frame_parser parser;
        frame_parser_init(&parser);
        int got = 0;
        for (size_t at = 0; at < stream.size;) {
            static const size_t pieces[] = {1, 40, 1000, 65536, 300000, 2000000};
            size_t size = prng_between(&p, 1, pieces[round]);
            size = MIN(size, stream.size - at);
            feed(&parser, SLICE(stream.data + at, size));
            at += size;
            for (;;) {
                struct frame f;
                bool ready;
                struct err_text why = {""};
                enum err e = frame_parser_next(&parser, &f, &ready, &why);
                if (e != ERR_OK)
                    print_error("round %d, frame %d: %s\n", round, got, why.text);
                assert_int_equal(e, ERR_OK);
                if (!ready)
                    break;
                assert_int_equal(f.header.type, headers[got].type);
                assert_true(f.header.id == headers[got].id);
                assert_int_equal(f.header.method, headers[got].method);
                assert_int_equal(f.header.status, headers[got].status);
                assert_int_equal(f.message.size, headers[got].message_size);
                assert_int_equal(f.payload.size, headers[got].payload_size);
                struct bytes owned = {0};
                if (got % 2 && frame_parser_take(&parser, &f, &owned)) {
                    assert_true(f.message.data >= owned.data);
                    assert_true(f.payload.data + f.payload.size <= owned.data + owned.size);
                }
                assert_true(slice_equal(f.message, SLICE(noise, f.message.size)));
                assert_true(slice_equal(f.payload, SLICE(noise + 7, f.payload.size)));
                bytes_free(&owned);
                got++;
            }
        }
        assert_int_equal(got, FRAMES);
        frame_parser_close(&parser);
        bytes_free(&stream);
    }
    free(noise);
}

/* One frame: its outcome, and *ret, whose slices live in *parser. */
static enum err parse_one(struct frame_header header, struct slice message, struct frame_parser *parser,
                          struct frame *ret)
{
    struct bytes b = {0};
    struct err_text why = {""};
    bool ready = false;
    append_frame(&b, header, message, slice_str("payload"));
    frame_parser_init(parser);
    feed(parser, bytes_slice(&b));
    enum err e = frame_parser_next(parser, ret, &ready, &why);
    assert_int_equal(ready, e == ERR_OK);
    bytes_free(&b);
    return e;
}

static void test_clocks_are_taken_off(void **state)
{
    (void)state;
    struct frame_header header = {.type = FRAME_REQUEST, .id = 1, .flags = FRAME_HAS_CLOCK};
    struct frame_parser parser;
    struct frame f;
    assert_int_equal(parse_one(header, SLICE("\0\3clkmessage", 12), &parser, &f), ERR_OK);
    assert_true(slice_equal(f.clock, slice_str("clk")));
    assert_true(slice_equal(f.message, slice_str("message")));
    assert_true(slice_equal(f.payload, slice_str("payload")));
    assert_int_equal(f.header.message_size, 7);
    frame_parser_close(&parser);
    assert_int_equal(parse_one(header, SLICE("\0\0", 2), &parser, &f), ERR_OK);
    assert_int_equal(f.message.size + f.clock.size, 0);
    frame_parser_close(&parser);

    static const struct {
        const char *message;
        size_t size;
    } bad[] = {{"", 0}, {"\0", 1}, {"\0\1", 2}, {"\0\4clk", 5}, {"\377\377clk", 5}};
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(parse_one(header, SLICE(bad[i].message, bad[i].size), &parser, &f), ERR_PROTOCOL);
        frame_parser_close(&parser);
    }
    header.flags = 2;
    assert_int_equal(parse_one(header, slice_str("message"), &parser, &f), ERR_PROTOCOL);
    frame_parser_close(&parser);
}

static void test_a_long_frame_with_a_clock_is_moved(void **state)
{
    (void)state;
    struct bytes message = {0};
    struct frame_header header = {.type = FRAME_RESPONSE, .id = 1, .flags = FRAME_HAS_CLOCK};
    struct frame_parser parser;
    struct frame f;
    bytes_u16(&message, 3);
    bytes_append(&message, slice_str("clk"));
    memset(bytes_extend(&message, 100000), 7, 100000);
    assert_int_equal(parse_one(header, bytes_slice(&message), &parser, &f), ERR_OK);
    struct bytes owned = {0};
    assert_true(frame_parser_take(&parser, &f, &owned));
    assert_true(f.clock.data >= owned.data && f.payload.data + f.payload.size == owned.data + owned.size);
    assert_int_equal(f.message.size, 100000);
    bytes_free(&owned);
    bytes_free(&message);
    frame_parser_close(&parser);
}

static void test_every_truncation_waits(void **state)
{
    (void)state;
    struct bytes b = {0};
    append_frame(&b, (struct frame_header){.type = FRAME_REQUEST, .id = 1}, slice_str("message"), slice_str("payload"));
    for (size_t cut = 0; cut < b.size; cut++) {
        struct frame_parser p;
        struct frame f;
        bool ready;
        frame_parser_init(&p);
        feed(&p, SLICE(b.data, cut));
        assert_int_equal(frame_parser_next(&p, &f, &ready, NULL), ERR_OK);
        assert_false(ready);
        feed(&p, SLICE(b.data + cut, b.size - cut));
        assert_int_equal(frame_parser_next(&p, &f, &ready, NULL), ERR_OK);
        assert_true(ready);
        assert_true(slice_equal(f.payload, slice_str("payload")));
        frame_parser_close(&p);
    }
    bytes_free(&b);
}

/* Of the header and the message no bit may change; the payload has checksums of its own. */
static void test_every_flipped_bit_is_refused(void **state)
{
    (void)state;
    struct bytes b = {0};
    append_frame(&b, (struct frame_header){.type = FRAME_REQUEST, .id = 1, .method = 3}, slice_str("message"),
                 slice_str("payload"));
    for (size_t bit = 0; bit < (FRAME_HEADER_SIZE + 7) * 8; bit++) {
        struct frame_parser p;
        struct frame f;
        bool ready;
        b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        frame_parser_init(&p);
        feed(&p, bytes_slice(&b));
        enum err e = frame_parser_next(&p, &f, &ready, NULL);
        assert_false(ready); /* a length that grew waits for more */
        assert_true(e == ERR_PROTOCOL || e == ERR_TOO_BIG || bit / 8 >= 20);
        if (e != ERR_OK)
            assert_int_equal(frame_parser_next(&p, &f, &ready, NULL), e);
        frame_parser_close(&p);
        b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    bytes_free(&b);
}

/* Writes `value` into `size` bytes at `at` of a frame and makes the checksum right again. */
static enum err parse_with(enum frame_type type, size_t at, size_t size, uint32_t value, struct err_text *why)
{
    uint8_t frame[FRAME_HEADER_SIZE + 16] = {0};
    struct frame_header h = {.type = type};
    frame_header_encode(&h, SLICE(NULL, 0), frame);
    for (size_t i = 0; i < size; i++)
        frame[at + i] = (uint8_t)(value >> 8 * (size - 1 - i));
    uint64_t seed = checksum64(SLICE(frame, 28), 0);
    put_u32be(frame + 28, (uint32_t)checksum64(SLICE(NULL, 0), seed));
    struct frame_parser p;
    struct frame f;
    bool ready;
    frame_parser_init(&p);
    feed(&p, SLICE(frame, sizeof frame));
    enum err e = frame_parser_next(&p, &f, &ready, why);
    assert_true(e == ERR_OK || !ready);
    frame_parser_close(&p);
    return e;
}

static void test_bad_headers(void **state)
{
    (void)state;
    struct err_text why;
    assert_int_equal(parse_with(FRAME_REQUEST, 16, 2, 9, &why), ERR_OK);
    assert_int_equal(parse_with(FRAME_RESPONSE, 18, 2, 9, &why), ERR_OK);

    assert_int_equal(parse_with(FRAME_REQUEST, 0, 4, 0x53555247, &why), ERR_PROTOCOL);
    assert_non_null(strstr(why.text, "0x53555247"));
    assert_int_equal(parse_with(FRAME_REQUEST, 4, 1, 2, &why), ERR_PROTOCOL);
    assert_non_null(strstr(why.text, "version 2"));
    assert_int_equal(parse_with(FRAME_REQUEST, 5, 1, 0, &why), ERR_PROTOCOL);
    assert_int_equal(parse_with(FRAME_REQUEST, 5, 1, FRAME_PONG + 1, &why), ERR_PROTOCOL);
    assert_non_null(strstr(why.text, "type 8"));
    assert_int_equal(parse_with(FRAME_REQUEST, 6, 2, 0x8000, &why), ERR_PROTOCOL);
    assert_non_null(strstr(why.text, "0x8000"));
    assert_int_equal(parse_with(FRAME_REQUEST, 18, 2, 9, &why), ERR_PROTOCOL);
    assert_non_null(strstr(why.text, "status 9"));
    assert_int_equal(parse_with(FRAME_REQUEST, 20, 4, LIMIT_FRAME_MESSAGE_BYTES + 1, &why), ERR_TOO_BIG);
    assert_non_null(strstr(why.text, "2097153"));
    assert_int_equal(parse_with(FRAME_REQUEST, 20, 4, UINT32_MAX, &why), ERR_TOO_BIG);
    assert_int_equal(parse_with(FRAME_REQUEST, 24, 4, LIMIT_FRAME_PAYLOAD_BYTES + 1, &why), ERR_TOO_BIG);
    assert_int_equal(parse_with(FRAME_REQUEST, 24, 4, UINT32_MAX, &why), ERR_TOO_BIG);
    assert_int_equal(parse_with(FRAME_PING, 20, 4, 1, &why), ERR_PROTOCOL);
    assert_int_equal(parse_with(FRAME_CANCEL, 24, 4, 1, &why), ERR_PROTOCOL);
    assert_int_equal(parse_with(FRAME_HELLO, 24, 4, 1, &why), ERR_PROTOCOL);
}

static void test_limit_of_the_owner(void **state)
{
    (void)state;
    struct bytes b = {0};
    uint8_t message[100] = {0};
    append_frame(&b, (struct frame_header){.type = FRAME_HELLO}, SLICE(message, 100), SLICE(NULL, 0));
    for (size_t limit = 131; limit <= 132; limit++) {
        struct frame_parser p;
        struct frame f;
        bool ready;
        frame_parser_init(&p);
        p.size_limit = limit;
        feed(&p, SLICE(b.data, FRAME_HEADER_SIZE));
        assert_int_equal(frame_parser_next(&p, &f, &ready, NULL), limit == 132 ? ERR_OK : ERR_TOO_BIG);
        frame_parser_close(&p);
    }
    bytes_free(&b);
}

/* A header that announces 6 MiB costs little until they come; then the memory is what the frame needs, and it is moved.
 */
static void test_memory_grows_with_what_arrives(void **state)
{
    (void)state;
    struct bytes b = {0};
    uint8_t *big = mem_zalloc(LIMIT_FRAME_PAYLOAD_BYTES);
    append_frame(&b, (struct frame_header){.type = FRAME_REQUEST}, SLICE(big, LIMIT_FRAME_MESSAGE_BYTES),
                 SLICE(big, LIMIT_FRAME_PAYLOAD_BYTES));
    struct frame_parser p;
    struct frame f;
    bool ready = false;
    frame_parser_init(&p);
    size_t at = 0;
    while (!ready) {
        size_t room;
        uint8_t *to = frame_parser_room(&p, 4096, &room);
        assert_true(p.buffer.capacity <= 8 * at + 8192);
        size_t size = MIN(MIN(room, (size_t)100000), b.size - at);
        memcpy(to, b.data + at, size);
        frame_parser_fed(&p, size);
        at += size;
        assert_int_equal(frame_parser_next(&p, &f, &ready, NULL), ERR_OK);
    }
    assert_int_equal(at, b.size);
    const uint8_t *before = p.buffer.data;
    struct bytes owned = {0};
    assert_true(frame_parser_take(&p, &f, &owned));
    assert_ptr_equal(owned.data, before);
    assert_int_equal(p.buffer.capacity, 0);
    bytes_free(&owned);

    /* What is not taken is given back when the parser is next used. */
    feed(&p, bytes_slice(&b));
    assert_int_equal(frame_parser_next(&p, &f, &ready, NULL), ERR_OK);
    assert_true(ready);
    size_t room;
    frame_parser_room(&p, 4096, &room);
    assert_true(p.buffer.capacity <= 8192);
    frame_parser_close(&p);
    bytes_free(&b);
    free(big);
}

/* A block of the usual size and its header: what has arrived is copied when the buffer grows, and that is to be little.
 */
static void test_a_block_is_hardly_copied(void **state)
{
    (void)state;
    struct bytes b = {0};
    uint8_t *block = mem_zalloc(LIMIT_BLOCK_BYTES);
    append_frame(&b, (struct frame_header){.type = FRAME_REQUEST}, slice_str("message"),
                 SLICE(block, LIMIT_BLOCK_BYTES));
    struct frame_parser p;
    struct frame f;
    bool ready = false;
    frame_parser_init(&p);
    size_t at = 0, copied = 0;
    while (!ready) {
        size_t room, capacity = p.buffer.capacity, piece = 64 * KIB;
        uint8_t *to = frame_parser_room(&p, piece, &room);
        copied += p.buffer.capacity != capacity ? at : 0;
        size_t size = MIN(MIN(room, piece), b.size - at);
        memcpy(to, b.data + at, size);
        frame_parser_fed(&p, size);
        at += size;
        assert_int_equal(frame_parser_next(&p, &f, &ready, NULL), ERR_OK);
    }
    assert_true(copied <= LIMIT_BLOCK_BYTES / 3);
    frame_parser_close(&p);
    bytes_free(&b);
    free(block);
}

static void test_random_bytes(void **state)
{
    (void)state;
    struct prng r;
    prng_seed(&r, 41);
    uint8_t *noise = mem_alloc(MIB);
    for (size_t i = 0; i < MIB; i++)
        noise[i] = (uint8_t)prng_next(&r);
    struct frame_parser p;
    struct frame f;
    bool ready;
    frame_parser_init(&p);
    feed(&p, SLICE(noise, MIB));
    assert_int_equal(frame_parser_next(&p, &f, &ready, NULL), ERR_PROTOCOL);
    frame_parser_close(&p);
    /* Also behind a good magic number, and behind a good header's first half. */
    uint8_t start[FRAME_HEADER_SIZE];
    frame_header_encode(&(struct frame_header){.type = FRAME_ONEWAY}, SLICE(NULL, 0), start);
    for (size_t round = 0; round < 20000; round++) {
        size_t kept = prng_between(&r, 4, 27), from = prng_below(&r, MIB - 100);
        frame_parser_init(&p);
        feed(&p, SLICE(start, kept));
        feed(&p, SLICE(noise + from, 100));
        enum err e = frame_parser_next(&p, &f, &ready, NULL);
        assert_false(ready);
        assert_true(e == ERR_PROTOCOL || e == ERR_TOO_BIG || kept >= 21);
        frame_parser_close(&p);
    }
    free(noise);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_round_trip_in_any_pieces),
        cmocka_unit_test(test_every_truncation_waits),
        cmocka_unit_test(test_clocks_are_taken_off),
        cmocka_unit_test(test_a_long_frame_with_a_clock_is_moved),
        cmocka_unit_test(test_every_flipped_bit_is_refused),
        cmocka_unit_test(test_bad_headers),
        cmocka_unit_test(test_limit_of_the_owner),
        cmocka_unit_test(test_memory_grows_with_what_arrives),
        cmocka_unit_test(test_a_block_is_hardly_copied),
        cmocka_unit_test(test_random_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
