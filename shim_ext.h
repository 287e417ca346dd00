/*
 * Entry points of the functions beyond RFC 2744; a part of shim.h, which includes
 * it. What the open library lacks answers GSS_S_UNAVAILABLE.
 */
#ifndef GSSGO_SHIM_EXT_H
#define GSSGO_SHIM_EXT_H

#define GSSGO_S_FAILURE ((OM_uint32)13 << 16)
#define GSSGO_S_UNAVAILABLE ((OM_uint32)16 << 16)

/* ---- sets of buffers ---- */

/* set: a gss_buffer_set_t, to be released. */
typedef struct { OM_uint32 major, minor; void *set; } gssgo_set;

static inline gssgo_status gssgo_release_buffer_set(void *set, int wipe) {
    gssgo_status r = {0, 0};
    gss_buffer_set_t s = (gss_buffer_set_t)set;
    size_t i;
    if (!s || !gssgo_fn.gss_release_buffer_set)
        return r;
    for (i = 0; wipe && i < s->count; i++)
        if (s->elements[i].value)
            gssgo_wipe(s->elements[i].value, s->elements[i].length);
    r.major = gssgo_fn.gss_release_buffer_set(&r.minor, &s);
    return r;
}

static inline size_t gssgo_buffer_set_count(const void *set) {
    return set ? ((const gss_buffer_set_desc *)set)->count : 0;
}

static inline gssgo_bytes gssgo_buffer_set_at(const void *set, size_t i) {
    const gss_buffer_desc *b = &((const gss_buffer_set_desc *)set)->elements[i];
    gssgo_bytes r;
    r.p = b->value;
    r.n = b->value ? b->length : 0;
    return r;
}

/* ---- mechanisms and object identifiers: RFC 5587, RFC 5801, RFC 2743 3.1 ---- */

/* ---- names: RFC 6680 and local names ---- */

/* ---- credentials: stores, passwords, RFC 5588, S4U, export, negotiation ---- */

/* The store comes as a block of count pairs of NUL-terminated strings. */
static inline gssgo_cred gssgo_acquire_cred_from(void *name, OM_uint32 lifetime, void *mechs, int usage, const char *block, OM_uint32 count) {
    sigset_t signals;
    gssgo_cred r = {GSSGO_S_UNAVAILABLE, 0, NULL, NULL, NULL, 0, 0, 0};
    gss_key_value_set_desc store;
    gss_key_value_element_desc *elements;
    gss_cred_id_t cred = NULL;
    gss_OID_set actual = NULL;
    OM_uint32 i;
    if (!gssgo_fn.gss_acquire_cred_from)
        return r;
    elements = malloc((count + 1) * sizeof *elements);
    if (!elements) {
        r.major = GSSGO_S_FAILURE;
        return r;
    }
    for (i = 0; i < count; i++) {
        elements[i].key = block;
        block += strlen(block) + 1;
        elements[i].value = block;
        block += strlen(block) + 1;
    }
    store.count = count;
    store.elements = elements;
    gssgo_block(&signals);
    r.major = gssgo_fn.gss_acquire_cred_from(&r.minor, (gss_name_t)name, lifetime, (gss_OID_set)mechs, usage, &store, &cred, &actual, &r.lifetime);
    gssgo_unblock(&signals);
    free(elements);
    r.cred = cred;
    r.mechs = actual;
    return r;
}

static inline gssgo_cred gssgo_acquire_cred_with_password(void *name, const unsigned char *password, size_t n, OM_uint32 lifetime, void *mechs, int usage) {
    sigset_t signals;
    gssgo_cred r = {GSSGO_S_UNAVAILABLE, 0, NULL, NULL, NULL, 0, 0, 0};
    gss_buffer_desc pw = gssgo_in(password, n);
    gss_cred_id_t cred = NULL;
    gss_OID_set actual = NULL;
    if (!gssgo_fn.gss_acquire_cred_with_password)
        return r;
    gssgo_block(&signals);
    r.major = gssgo_fn.gss_acquire_cred_with_password(&r.minor, (gss_name_t)name, &pw, lifetime, (gss_OID_set)mechs, usage, &cred, &actual, &r.lifetime);
    gssgo_unblock(&signals);
    r.cred = cred;
    r.mechs = actual;
    return r;
}

/* ---- contexts: by object identifier, RFC 4401 ---- */

static inline gssgo_set gssgo_inquire_sec_context_by_oid(void *ctx, void *object) {
    gssgo_set r = {GSSGO_S_UNAVAILABLE, 0, NULL};
    gss_buffer_set_t set = NULL;
    if (!gssgo_fn.gss_inquire_sec_context_by_oid)
        return r;
    r.major = gssgo_fn.gss_inquire_sec_context_by_oid(&r.minor, (gss_ctx_id_t)ctx, (gss_OID)object, &set);
    r.set = set;
    return r;
}

/* How many buffers the answer has; they are overwritten. */
typedef struct { OM_uint32 major, minor; size_t count; } gssgo_count;

static inline gssgo_count gssgo_probe_context(void *ctx, void *object) {
    gssgo_set s = gssgo_inquire_sec_context_by_oid(ctx, object);
    gssgo_count r;
    r.major = s.major;
    r.minor = s.minor;
    r.count = gssgo_buffer_set_count(s.set);
    if (s.set)
        gssgo_release_buffer_set(s.set, 1);
    return r;
}

/* handle says what is left of the context. value may be written to: Heimdal has an option that answers there. */
static inline gssgo_handle gssgo_set_sec_context_option(void *ctx, void *option, unsigned char *value, size_t n) {
    gssgo_handle r = {GSSGO_S_UNAVAILABLE, 0, ctx};
    gss_ctx_id_t c = (gss_ctx_id_t)ctx;
    gss_buffer_desc in = gssgo_in(value, n);
    if (!gssgo_fn.gss_set_sec_context_option)
        return r;
    r.major = gssgo_fn.gss_set_sec_context_option(&r.minor, &c, (gss_OID)option, &in);
    r.handle = c;
    return r;
}

typedef struct { OM_uint32 major, minor; gss_context_stream_sizes sizes; } gssgo_sizes;

static inline gssgo_sizes gssgo_stream_sizes(void *ctx, void *attribute) {
    gssgo_sizes r;
    memset(&r, 0, sizeof r);
    r.major = GSSGO_S_UNAVAILABLE;
    if (gssgo_fn.gss_context_query_attributes)
        r.major = gssgo_fn.gss_context_query_attributes(&r.minor, (gss_ctx_id_t)ctx, (gss_OID)attribute, &r.sizes, sizeof r.sizes);
    return r;
}

static inline gssgo_status gssgo_complete_auth_token(void *ctx, const unsigned char *msg, size_t n) {
    gssgo_status r = {GSSGO_S_UNAVAILABLE, 0};
    gss_buffer_desc in = gssgo_in(msg, n);
    if (gssgo_fn.gss_complete_auth_token)
        r.major = gssgo_fn.gss_complete_auth_token(&r.minor, (gss_ctx_id_t)ctx, &in);
    return r;
}

static inline gssgo_buf gssgo_pseudo_random(void *ctx, int key, const unsigned char *seed, size_t n, size_t want) {
    gssgo_buf r = {GSSGO_S_UNAVAILABLE, 0, NULL, 0, NULL, 0};
    gss_buffer_desc in = gssgo_in(seed, n), out = {0, NULL};
    if (!gssgo_fn.gss_pseudo_random)
        return r;
    r.major = gssgo_fn.gss_pseudo_random(&r.minor, (gss_ctx_id_t)ctx, key, &in, (ssize_t)want, &out);
    r.buf = out.value;
    r.len = out.length;
    return r;
}

/* ---- messages in parts ---- */

/* ---- Kerberos' own ---- */

/* ---- Kerberos' own: contexts and the library ---- */

/* krb5_flags, or OM_uint32: both have 4 bytes. */
static inline gssgo_u32 gssgo_krb5_get_tkt_flags(void *ctx) {
    gssgo_u32 r = {GSSGO_S_UNAVAILABLE, 0, 0};
    if (gssgo_fn.gss_krb5_get_tkt_flags)
        r.major = gssgo_fn.gss_krb5_get_tkt_flags(&r.minor, (gss_ctx_id_t)ctx, &r.value);
    return r;
}

/*
 * MIT writes 4 bytes, Heimdal a time_t: width says how many count. There is room for more, and what was not written
 * is GSSGO_UNTOUCHED.
 */
#define GSSGO_UNTOUCHED 0xa5
typedef struct { OM_uint32 major, minor; size_t width; union { int64_t align; unsigned char bytes[16]; } room; } gssgo_time;

static inline gssgo_time gssgo_krb5_authtime(void *ctx) {
    gssgo_time r;
    memset(&r, 0, sizeof r);
    memset(&r.room, GSSGO_UNTOUCHED, sizeof r.room);
    r.major = GSSGO_S_UNAVAILABLE;
    r.width = gssgo_mit ? sizeof(int32_t) : sizeof(time_t);
    if (gssgo_fn.gsskrb5_extract_authtime_from_sec_context)
        r.major = gssgo_fn.gsskrb5_extract_authtime_from_sec_context(&r.minor, (gss_ctx_id_t)ctx, &r.room);
    return r;
}

static inline gssgo_buf gssgo_krb5_authz_data(void *ctx, int type) {
    gssgo_buf r = {GSSGO_S_UNAVAILABLE, 0, NULL, 0, NULL, 0};
    gss_buffer_desc out = {0, NULL};
    if (!gssgo_fn.gsskrb5_extract_authz_data_from_sec_context)
        return r;
    r.major = gssgo_fn.gsskrb5_extract_authz_data_from_sec_context(&r.minor, (gss_ctx_id_t)ctx, type, &out);
    r.buf = out.value;
    r.len = out.length;
    return r;
}

/*
 * The PAC of the initiator's name, as RFC 6680 has it: conf says whether its signature was verified. (What
 * gsskrb5_extract_authz_data_from_sec_context of MIT returns may be of the initiator's own making.)
 */
static inline gssgo_msg gssgo_krb5_pac(void *ctx) {
    gssgo_msg r = {GSSGO_S_UNAVAILABLE, 0, 0, 0, NULL, 0};
    static const unsigned char attribute[] = "urn:mspac:";
    gss_buffer_desc attr = gssgo_in(attribute, sizeof attribute - 1), value = {0, NULL}, display = {0, NULL};
    int complete = 0, more = -1;
    gssgo_ctxinfo info;
    OM_uint32 minor, major;
    if (!gssgo_fn.gss_get_name_attribute)
        return r;
    info = gssgo_inquire_context(ctx);
    r.major = info.major;
    r.minor = info.minor;
    if (!info.major && info.source)
        r.major = gssgo_fn.gss_get_name_attribute(&r.minor, (gss_name_t)info.source, &attr, &r.conf, &complete, &value, &display, &more);
    if (display.value)
        gssgo_give_back(&minor, &major, &display);
    if (info.source)
        gssgo_release_name(info.source);
    if (info.target)
        gssgo_release_name(info.target);
    r.buf = value.value;
    r.len = value.length;
    return r;
}

/* key: an EncryptionKey of the library's libkrb5, to be given back with gssgo_krb5_free_keyblock. */
typedef struct { OM_uint32 major, minor; void *key; int type; gssgo_bytes value; } gssgo_key;
typedef void (*gssgo_free_keyblock_fn)(void *context, void *key);
enum { GSSGO_KEY_SERVICE, GSSGO_KEY_INITIATOR, GSSGO_KEY_TOKEN };

static inline gssgo_key gssgo_krb5_key(void *ctx, int which) {
    static const char *const objects[] = {"__gss_krb5_get_service_keyblock_x_oid_desc", "__gss_krb5_get_initiator_subkey_x_oid_desc", "__gss_krb5_get_subkey_x_oid_desc"};
    OM_uint32 (*get)(OM_uint32 *, gss_ctx_id_t, GSSGO_KEYBLOCK **);
    gssgo_key r = {GSSGO_S_UNAVAILABLE, 0, NULL, 0, {NULL, 0}};
    void *object, *key = NULL;
    switch (which) {
    case GSSGO_KEY_SERVICE:
        get = gssgo_fn.gsskrb5_extract_service_keyblock;
        break;
    case GSSGO_KEY_INITIATOR:
        get = gssgo_fn.gsskrb5_get_initiator_subkey;
        break;
    default:
        get = gssgo_fn.gsskrb5_get_subkey;
    }
    if (!get || !gssgo_symbol("krb5_free_keyblock"))
        return r;
    /* Where there is no such key, Heimdal 7.8 loses a krb5_context: this asks first. */
    object = gssgo_symbol(objects[which]);
    if (object) {
        gssgo_count c = gssgo_probe_context(ctx, object);
        r.major = c.major;
        r.minor = c.minor;
        if (c.major)
            return r;
    }
    r.major = get(&r.minor, (gss_ctx_id_t)ctx, &key);
    r.key = key;
    if (!r.major && key) {
        r.type = ((EncryptionKey *)key)->keytype;
        r.value.p = ((EncryptionKey *)key)->keyvalue.data;
        r.value.n = ((EncryptionKey *)key)->keyvalue.length;
    }
    return r;
}

/* The function overwrites the key. It does not use its context. */
static inline void gssgo_krb5_free_keyblock(void *key) {
    gssgo_free_keyblock_fn f;
    *(void **)&f = gssgo_symbol("krb5_free_keyblock");
    if (key && f)
        f(NULL, key);
}

/* handle says what is left of the context; lucid is to be given back with gssgo_krb5_free_lucid. */
typedef struct { OM_uint32 major, minor; void *handle; gss_krb5_lucid_context_v1_t *lucid; } gssgo_lucid;

static inline gssgo_lucid gssgo_krb5_export_lucid(void *ctx) {
    gssgo_lucid r = {GSSGO_S_UNAVAILABLE, 0, ctx, NULL};
    gss_ctx_id_t c = (gss_ctx_id_t)ctx;
    void *out = NULL;
    if (!gssgo_fn.gss_krb5_export_lucid_sec_context || !gssgo_fn.gss_krb5_free_lucid_sec_context)
        return r;
    r.major = gssgo_fn.gss_krb5_export_lucid_sec_context(&r.minor, &c, 1, &out);
    r.handle = c;
    r.lucid = out;
    return r;
}

/* MIT answers the question with an address, and keeps the context. */
static inline gssgo_lucid gssgo_krb5_inquire_lucid(void *ctx, void *object) {
    gssgo_lucid r = {GSSGO_S_UNAVAILABLE, 0, ctx, NULL};
    gssgo_set s;
    if (!gssgo_fn.gss_krb5_free_lucid_sec_context)
        return r;
    s = gssgo_inquire_sec_context_by_oid(ctx, object);
    r.major = s.major;
    r.minor = s.minor;
    if (!s.major) {
        gssgo_bytes b = {NULL, 0};
        if (gssgo_buffer_set_count(s.set) == 1)
            b = gssgo_buffer_set_at(s.set, 0);
        if (b.n == sizeof r.lucid)
            memcpy(&r.lucid, b.p, sizeof r.lucid);
        else
            r.major = GSSGO_S_FAILURE;
    }
    if (s.set)
        gssgo_release_buffer_set(s.set, 0);
    return r;
}

static inline void gssgo_krb5_wipe_lucid_key(gss_krb5_lucid_key_t *k) {
    if (k->data)
        gssgo_wipe(k->data, k->length);
}

static inline void gssgo_krb5_free_lucid(gss_krb5_lucid_context_v1_t *l) {
    OM_uint32 minor;
    if (!l)
        return;
    if (l->version == 1) {
        gssgo_krb5_wipe_lucid_key(&l->rfc1964_kd.ctx_key);
        gssgo_krb5_wipe_lucid_key(&l->cfx_kd.ctx_key);
        gssgo_krb5_wipe_lucid_key(&l->cfx_kd.acceptor_subkey);
    }
    gssgo_fn.gss_krb5_free_lucid_sec_context(&minor, l);
}

/* These set no minor status. */
static inline gssgo_u32 gssgo_krb5_get_time_offset(void) {
    gssgo_u32 r = {GSSGO_S_UNAVAILABLE, 0, 0};
    int seconds = 0;
    if (gssgo_fn.gsskrb5_get_time_offset)
        r.major = gssgo_fn.gsskrb5_get_time_offset(&seconds);
    r.value = (OM_uint32)seconds;
    return r;
}

static inline gssgo_status gssgo_krb5_set_time_offset(int seconds) {
    gssgo_status r = {GSSGO_S_UNAVAILABLE, 0};
    if (gssgo_fn.gsskrb5_set_time_offset)
        r.major = gssgo_fn.gsskrb5_set_time_offset(seconds);
    return r;
}

static inline gssgo_status gssgo_krb5_set_default_realm(const char *realm) {
    gssgo_status r = {GSSGO_S_UNAVAILABLE, 0};
    if (gssgo_fn.gsskrb5_set_default_realm)
        r.major = gssgo_fn.gsskrb5_set_default_realm(realm);
    return r;
}

static inline gssgo_status gssgo_krb5_set_dns_canonicalize(int on) {
    gssgo_status r = {GSSGO_S_UNAVAILABLE, 0};
    if (gssgo_fn.gsskrb5_set_dns_canonicalize)
        r.major = gssgo_fn.gsskrb5_set_dns_canonicalize(on);
    return r;
}

/* ---- the library itself ---- */

static inline const char *gssgo_check_version(void) { return gssgo_fn.gss_check_version(NULL); }

#endif
