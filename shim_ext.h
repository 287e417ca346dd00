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

/* Three texts, each to be released. */
typedef struct { OM_uint32 major, minor; void *p[3]; size_t n[3]; } gssgo_texts;

/* Two sets of object identifiers, each to be released. */
typedef struct { OM_uint32 major, minor; void *first, *second; } gssgo_sets;

/* Bytes that stay the library's. */
typedef struct { OM_uint32 major, minor; const void *p; size_t n; } gssgo_borrowed;

/* An object identifier, and in handle what gss_release_oid gets once it is copied; NULL if it is the library's own. */
typedef struct { OM_uint32 major, minor; void *handle; const void *p; size_t n; } gssgo_oid;

static inline gssgo_handle gssgo_indicate_mechs_by_attrs(void *desired, void *except, void *critical) {
    gssgo_handle r = {GSSGO_S_UNAVAILABLE, 0, NULL};
    gss_OID_set mechs = NULL;
    if (!gssgo_fn.gss_indicate_mechs_by_attrs)
        return r;
    r.major = gssgo_fn.gss_indicate_mechs_by_attrs(&r.minor, (gss_OID_set)desired, (gss_OID_set)except, (gss_OID_set)critical, &mechs);
    r.handle = mechs;
    return r;
}

static inline gssgo_sets gssgo_inquire_attrs_for_mech(void *mech) {
    gssgo_sets r = {GSSGO_S_UNAVAILABLE, 0, NULL, NULL};
    gss_OID_set attrs = NULL, known = NULL;
    if (!gssgo_fn.gss_inquire_attrs_for_mech)
        return r;
    r.major = gssgo_fn.gss_inquire_attrs_for_mech(&r.minor, (gss_OID)mech, &attrs, &known);
    r.first = attrs;
    r.second = known;
    return r;
}

static inline gssgo_texts gssgo_three_texts(OM_uint32 major, OM_uint32 minor, const gss_buffer_desc *b) {
    gssgo_texts r;
    int i;
    r.major = major;
    r.minor = minor;
    for (i = 0; i < 3; i++) {
        r.p[i] = b[i].value;
        r.n[i] = b[i].value ? b[i].length : 0;
    }
    return r;
}

static inline gssgo_texts gssgo_display_mech_attr(void *attr) {
    gss_buffer_desc b[3] = {{0, NULL}, {0, NULL}, {0, NULL}};
    OM_uint32 major = GSSGO_S_UNAVAILABLE, minor = 0;
    if (gssgo_fn.gss_display_mech_attr)
        major = gssgo_fn.gss_display_mech_attr(&minor, (gss_OID)attr, &b[0], &b[1], &b[2]);
    return gssgo_three_texts(major, minor, b);
}

static inline gssgo_texts gssgo_inquire_saslname_for_mech(void *mech) {
    gss_buffer_desc b[3] = {{0, NULL}, {0, NULL}, {0, NULL}};
    OM_uint32 major = GSSGO_S_UNAVAILABLE, minor = 0;
    if (gssgo_fn.gss_inquire_saslname_for_mech)
        major = gssgo_fn.gss_inquire_saslname_for_mech(&minor, (gss_OID)mech, &b[0], &b[1], &b[2]);
    return gssgo_three_texts(major, minor, b);
}

static inline gssgo_borrowed gssgo_inquire_mech_for_saslname(const unsigned char *p, size_t n) {
    gssgo_borrowed r = {GSSGO_S_UNAVAILABLE, 0, NULL, 0};
    gss_buffer_desc in = gssgo_in(p, n);
    gss_OID mech = NULL;
    if (!gssgo_fn.gss_inquire_mech_for_saslname)
        return r;
    r.major = gssgo_fn.gss_inquire_mech_for_saslname(&r.minor, &in, &mech);
    gssgo_oid_out(mech, &r.p, &r.n);
    return r;
}

/* These two have no minor status. */
static inline gssgo_buf gssgo_encapsulate_token(void *mech, const unsigned char *p, size_t n) {
    gssgo_buf r = {GSSGO_S_UNAVAILABLE, 0, NULL, 0, NULL, 0};
    gss_buffer_desc in = gssgo_in(p, n), out = {0, NULL};
    if (!gssgo_fn.gss_encapsulate_token)
        return r;
    r.major = gssgo_fn.gss_encapsulate_token(&in, (gss_OID)mech, &out);
    r.buf = out.value;
    r.len = out.length;
    return r;
}

static inline gssgo_buf gssgo_decapsulate_token(void *mech, const unsigned char *p, size_t n) {
    gssgo_buf r = {GSSGO_S_UNAVAILABLE, 0, NULL, 0, NULL, 0};
    gss_buffer_desc in = gssgo_in(p, n), out = {0, NULL};
    if (!gssgo_fn.gss_decapsulate_token)
        return r;
    r.major = gssgo_fn.gss_decapsulate_token(&in, (gss_OID)mech, &out);
    r.buf = out.value;
    r.len = out.length;
    return r;
}

static inline gssgo_oid gssgo_str_to_oid(const unsigned char *p, size_t n) {
    gssgo_oid r = {GSSGO_S_UNAVAILABLE, 0, NULL, NULL, 0};
    gss_buffer_desc in = gssgo_in(p, n);
    gss_OID oid = NULL;
    if (!gssgo_fn.gss_str_to_oid)
        return r;
    r.major = gssgo_fn.gss_str_to_oid(&r.minor, &in, &oid);
    r.handle = oid;
    gssgo_oid_out(oid, &r.p, &r.n);
    return r;
}

/* Heimdal 7.8 frees whatever it is given: only for what a call allocated for its caller. */
static inline gssgo_status gssgo_release_oid(void *handle) {
    gssgo_status r = {0, 0};
    gss_OID oid = (gss_OID)handle;
    if (oid && gssgo_fn.gss_release_oid)
        r.major = gssgo_fn.gss_release_oid(&r.minor, &oid);
    return r;
}

static inline gssgo_buf gssgo_oid_to_str(void *oid) {
    gssgo_buf r = {GSSGO_S_UNAVAILABLE, 0, NULL, 0, NULL, 0};
    gss_buffer_desc out = {0, NULL};
    if (!gssgo_fn.gss_oid_to_str)
        return r;
    r.major = gssgo_fn.gss_oid_to_str(&r.minor, (gss_OID)oid, &out);
    r.buf = out.value;
    r.len = out.length;
    return r;
}

static inline gssgo_borrowed gssgo_oid_to_name(void *oid) {
    gssgo_borrowed r = {GSSGO_S_UNAVAILABLE, 0, NULL, 0};
    const char *name;
    if (!gssgo_fn.gss_oid_to_name)
        return r;
    name = gssgo_fn.gss_oid_to_name((gss_OID)oid);
    r.major = 0;
    r.p = name;
    r.n = name ? strlen(name) : 0;
    return r;
}

/* The name ends with a NUL. */
static inline gssgo_borrowed gssgo_name_to_oid(const char *name) {
    gssgo_borrowed r = {GSSGO_S_UNAVAILABLE, 0, NULL, 0};
    if (!gssgo_fn.gss_name_to_oid)
        return r;
    r.major = 0;
    gssgo_oid_out(gssgo_fn.gss_name_to_oid(name), &r.p, &r.n);
    return r;
}

/* Behind the n bytes there is a NUL: MIT's mechanisms take some values for strings. */
static inline gssgo_status gssgo_mech_invoke(void *mech, void *object, const unsigned char *p, size_t n) {
    gssgo_status r = {GSSGO_S_UNAVAILABLE, 0};
    gss_buffer_desc value = gssgo_in(p, n);
    if (!gssgo_fn.gssspi_mech_invoke)
        return r;
    if (!n)
        value.value = NULL;
    r.major = gssgo_fn.gssspi_mech_invoke(&r.minor, (gss_OID)mech, (gss_OID)object, &value);
    return r;
}

static inline gssgo_status gssgo_mo_set(void *mech, void *option, int enable, const unsigned char *p, size_t n) {
    gssgo_status r = {GSSGO_S_UNAVAILABLE, 0};
    gss_buffer_desc value = gssgo_in(p, n);
    if (!gssgo_fn.gss_mo_set)
        return r;
    r.major = (OM_uint32)gssgo_fn.gss_mo_set((gss_OID)mech, (gss_OID)option, enable, n ? &value : NULL);
    return r;
}

static inline gssgo_buf gssgo_mo_get(void *mech, void *option) {
    gssgo_buf r = {GSSGO_S_UNAVAILABLE, 0, NULL, 0, NULL, 0};
    gss_buffer_desc out = {0, NULL};
    if (!gssgo_fn.gss_mo_get)
        return r;
    r.major = (OM_uint32)gssgo_fn.gss_mo_get((gss_OID)mech, (gss_OID)option, &out);
    r.buf = out.value;
    r.len = out.length;
    return r;
}

/* gss_mo_list says nothing of success: no set is a failure. */
static inline gssgo_handle gssgo_mo_list(void *mech) {
    gssgo_handle r = {GSSGO_S_UNAVAILABLE, 0, NULL};
    gss_OID_set options = NULL;
    if (!gssgo_fn.gss_mo_list)
        return r;
    gssgo_fn.gss_mo_list((gss_OID)mech, &options);
    r.major = 0;
    r.handle = options;
    return r;
}

static inline gssgo_buf gssgo_mo_name(void *mech, void *option) {
    gssgo_buf r = {GSSGO_S_UNAVAILABLE, 0, NULL, 0, NULL, 0};
    gss_buffer_desc out = {0, NULL};
    if (!gssgo_fn.gss_mo_name)
        return r;
    r.major = gssgo_fn.gss_mo_name((gss_OID)mech, (gss_OID)option, &out);
    r.buf = out.value;
    r.len = out.length;
    return r;
}

/* ---- names: RFC 6680 and local names ---- */

static inline gssgo_buf gssgo_display_name_ext(void *name, void *type) {
    gssgo_buf r = {GSSGO_S_UNAVAILABLE, 0, NULL, 0, NULL, 0};
    gss_buffer_desc out = {0, NULL};
    if (!gssgo_fn.gss_display_name_ext)
        return r;
    r.major = gssgo_fn.gss_display_name_ext(&r.minor, (gss_name_t)name, (gss_OID)type, &out);
    r.buf = out.value;
    r.len = out.length;
    return r;
}

/* handle: what gss_release_oid gets once the mechanism is copied. MIT copies it for its caller, Heimdal tells its own. */
typedef struct {
    OM_uint32 major, minor;
    int mn;
    const void *mech;
    size_t mechlen;
    void *handle;
    void *attrs; /* gss_buffer_set_t, to be released */
} gssgo_nameinfo;

static inline gssgo_nameinfo gssgo_inquire_name(void *name) {
    gssgo_nameinfo r;
    gss_OID mech = NULL;
    gss_buffer_set_t attrs = NULL;
    memset(&r, 0, sizeof r);
    r.major = GSSGO_S_UNAVAILABLE;
    if (!gssgo_fn.gss_inquire_name)
        return r;
    r.major = gssgo_fn.gss_inquire_name(&r.minor, (gss_name_t)name, &r.mn, &mech, &attrs);
    gssgo_oid_out(mech, &r.mech, &r.mechlen);
    r.handle = gssgo_mit ? mech : NULL;
    r.attrs = attrs;
    return r;
}

typedef struct {
    OM_uint32 major, minor;
    int authenticated, complete, more;
    void *value, *display; /* to be released */
    size_t valuelen, displaylen;
} gssgo_attribute;

/* Behind the n bytes of attr there is a NUL: MIT 1.20 reads on in "urn:mspac:1". */
static inline gssgo_attribute gssgo_get_name_attribute(void *name, const unsigned char *attr, size_t n, int more) {
    gssgo_attribute r;
    gss_buffer_desc in = gssgo_in(attr, n), value = {0, NULL}, display = {0, NULL};
    memset(&r, 0, sizeof r);
    r.major = GSSGO_S_UNAVAILABLE;
    if (!gssgo_fn.gss_get_name_attribute)
        return r;
    r.more = more;
    r.major = gssgo_fn.gss_get_name_attribute(&r.minor, (gss_name_t)name, &in, &r.authenticated, &r.complete, &value, &display, &r.more);
    r.value = value.value;
    r.valuelen = value.length;
    r.display = display.value;
    r.displaylen = display.length;
    return r;
}

static inline gssgo_status gssgo_set_name_attribute(void *name, int complete, const unsigned char *attr, size_t n, const unsigned char *p, size_t len) {
    gssgo_status r = {GSSGO_S_UNAVAILABLE, 0};
    gss_buffer_desc in = gssgo_in(attr, n), value = gssgo_in(p, len);
    if (!gssgo_fn.gss_set_name_attribute)
        return r;
    r.major = gssgo_fn.gss_set_name_attribute(&r.minor, (gss_name_t)name, complete, &in, &value);
    return r;
}

static inline gssgo_status gssgo_delete_name_attribute(void *name, const unsigned char *attr, size_t n) {
    gssgo_status r = {GSSGO_S_UNAVAILABLE, 0};
    gss_buffer_desc in = gssgo_in(attr, n);
    if (!gssgo_fn.gss_delete_name_attribute)
        return r;
    r.major = gssgo_fn.gss_delete_name_attribute(&r.minor, (gss_name_t)name, &in);
    return r;
}

static inline gssgo_buf gssgo_export_name_composite(void *name) {
    gssgo_buf r = {GSSGO_S_UNAVAILABLE, 0, NULL, 0, NULL, 0};
    gss_buffer_desc out = {0, NULL};
    if (!gssgo_fn.gss_export_name_composite)
        return r;
    r.major = gssgo_fn.gss_export_name_composite(&r.minor, (gss_name_t)name, &out);
    r.buf = out.value;
    r.len = out.length;
    return r;
}

static inline gssgo_buf gssgo_localname(void *name, void *mech) {
    gssgo_buf r = {GSSGO_S_UNAVAILABLE, 0, NULL, 0, NULL, 0};
    gss_buffer_desc out = {0, NULL};
    if (!gssgo_fn.gss_localname)
        return r;
    r.major = gssgo_fn.gss_localname(&r.minor, (gss_name_t)name, (gss_OID)mech, &out);
    r.buf = out.value;
    r.len = out.length;
    return r;
}

/* user ends with a NUL. */
static inline gssgo_u32 gssgo_userok(void *name, const char *user) {
    gssgo_u32 r = {GSSGO_S_UNAVAILABLE, 0, 0};
    if (!gssgo_fn.gss_userok)
        return r;
    r.major = 0;
    r.value = gssgo_fn.gss_userok((gss_name_t)name, user) != 0;
    return r;
}

static inline gssgo_status gssgo_authorize_localname(void *name, void *user) {
    gssgo_status r = {GSSGO_S_UNAVAILABLE, 0};
    if (!gssgo_fn.gss_authorize_localname)
        return r;
    r.major = gssgo_fn.gss_authorize_localname(&r.minor, (gss_name_t)name, (gss_name_t)user);
    return r;
}

static inline gssgo_u32 gssgo_pname_to_uid(void *name, void *mech) {
    gssgo_u32 r = {GSSGO_S_UNAVAILABLE, 0, 0};
    uid_t uid = (uid_t)-1;
    if (!gssgo_fn.gss_pname_to_uid)
        return r;
    r.major = gssgo_fn.gss_pname_to_uid(&r.minor, (gss_name_t)name, (gss_OID)mech, &uid);
    r.value = (OM_uint32)uid;
    return r;
}

/* ---- credentials: stores, passwords, RFC 5588, S4U, export, negotiation ---- */

/* A credential store. On the Intel Mac Heimdal (after 7.8) packs it, and MIT does not. */
typedef union {
    gss_key_value_set_desc set;
#ifdef GSSGO_PACKED
#pragma pack(push, 2)
    struct {
        OM_uint32 count;
        gss_key_value_element_desc *elements;
    } packed;
#pragma pack(pop)
#endif
} gssgo_kvset;

/*
 * A credential store comes as a block of count pairs of NUL-terminated strings. No
 * pairs are no store, for libraries too. The elements are to be freed; NULL: no
 * memory.
 */
static inline gss_key_value_element_desc *gssgo_store(gssgo_kvset *store, const char *block, OM_uint32 count) {
    gss_key_value_element_desc *elements = malloc(((size_t)count + 1) * sizeof *elements);
    OM_uint32 i;
    if (!elements)
        return NULL;
    for (i = 0; i < count; i++) {
        elements[i].key = block;
        block += strlen(block) + 1;
        elements[i].value = block;
        block += strlen(block) + 1;
    }
#ifdef GSSGO_PACKED
    if (!gssgo_mit) {
        store->packed.count = count;
        store->packed.elements = elements;
        return elements;
    }
#endif
    store->set.count = count;
    store->set.elements = elements;
    return elements;
}

static inline gssgo_cred gssgo_acquire_cred_from(void *name, OM_uint32 lifetime, void *mechs, int usage, const char *block, OM_uint32 count) {
    sigset_t signals;
    gssgo_cred r = {GSSGO_S_UNAVAILABLE, 0, NULL, NULL, NULL, 0, 0, 0};
    gssgo_kvset store;
    gss_key_value_element_desc *elements;
    gss_cred_id_t cred = NULL;
    gss_OID_set actual = NULL;
    if (!gssgo_fn.gss_acquire_cred_from)
        return r;
    elements = gssgo_store(&store, block, count);
    if (!elements) {
        r.major = GSSGO_S_FAILURE;
        return r;
    }
    gssgo_block(&signals);
    r.major = gssgo_fn.gss_acquire_cred_from(&r.minor, (gss_name_t)name, lifetime, (gss_OID_set)mechs, usage, count ? &store.set : NULL, &cred, &actual, &r.lifetime);
    gssgo_unblock(&signals);
    free(elements);
    r.cred = cred;
    r.mechs = actual;
    return r;
}

static inline gssgo_cred gssgo_add_cred_from(void *in, void *name, void *mech, int usage, OM_uint32 initiator_lifetime, OM_uint32 acceptor_lifetime,
                                             const char *block, OM_uint32 count) {
    sigset_t signals;
    gssgo_cred r = {GSSGO_S_UNAVAILABLE, 0, NULL, NULL, NULL, 0, 0, 0};
    gssgo_kvset store;
    gss_key_value_element_desc *elements;
    gss_cred_id_t cred = NULL;
    gss_OID_set actual = NULL;
    if (!gssgo_fn.gss_add_cred_from)
        return r;
    elements = gssgo_store(&store, block, count);
    if (!elements) {
        r.major = GSSGO_S_FAILURE;
        return r;
    }
    gssgo_block(&signals);
    r.major = gssgo_fn.gss_add_cred_from(&r.minor, (gss_cred_id_t)in, (gss_name_t)name, (gss_OID)mech, usage, initiator_lifetime, acceptor_lifetime,
                                         count ? &store.set : NULL, &cred, &actual, &r.lifetime, &r.acceptor_lifetime);
    gssgo_unblock(&signals);
    free(elements);
    r.cred = cred;
    r.mechs = actual;
    return r;
}

/*
 * in_place: the element is added to in, which is then the result. Else MIT (1.20 and
 * later ones, mechglue/g_acquire_cred_with_pw.c and g_acquire_cred_imp_name.c) lets
 * in and the result have the same elements, for each of them to release.
 */
static inline gssgo_cred gssgo_add_cred_with_password(void *in, void *name, void *mech, const unsigned char *password, size_t n, int usage,
                                                      OM_uint32 initiator_lifetime, OM_uint32 acceptor_lifetime, int in_place) {
    sigset_t signals;
    gssgo_cred r = {GSSGO_S_UNAVAILABLE, 0, NULL, NULL, NULL, 0, 0, 0};
    gss_buffer_desc pw = gssgo_in(password, n);
    gss_cred_id_t cred = NULL;
    gss_OID_set actual = NULL;
    if (!gssgo_fn.gss_add_cred_with_password)
        return r;
    gssgo_block(&signals);
    r.major = gssgo_fn.gss_add_cred_with_password(&r.minor, (gss_cred_id_t)in, (gss_name_t)name, (gss_OID)mech, &pw, usage, initiator_lifetime, acceptor_lifetime,
                                                  in_place ? NULL : &cred, &actual, &r.lifetime, &r.acceptor_lifetime);
    gssgo_unblock(&signals);
    r.cred = !in_place ? cred : (r.major & 0xffff0000u) ? NULL : in;
    r.mechs = actual;
    return r;
}

static inline gssgo_cred gssgo_acquire_cred_impersonate_name(void *impersonator, void *name, OM_uint32 lifetime, void *mechs, int usage) {
    sigset_t signals;
    gssgo_cred r = {GSSGO_S_UNAVAILABLE, 0, NULL, NULL, NULL, 0, 0, 0};
    gss_cred_id_t cred = NULL;
    gss_OID_set actual = NULL;
    if (!gssgo_fn.gss_acquire_cred_impersonate_name)
        return r;
    gssgo_block(&signals);
    r.major = gssgo_fn.gss_acquire_cred_impersonate_name(&r.minor, (gss_cred_id_t)impersonator, (gss_name_t)name, lifetime, (gss_OID_set)mechs, usage,
                                                         &cred, &actual, &r.lifetime);
    gssgo_unblock(&signals);
    r.cred = cred;
    r.mechs = actual;
    return r;
}

static inline gssgo_cred gssgo_add_cred_impersonate_name(void *in, void *impersonator, void *name, void *mech, int usage,
                                                         OM_uint32 initiator_lifetime, OM_uint32 acceptor_lifetime, int in_place) {
    sigset_t signals;
    gssgo_cred r = {GSSGO_S_UNAVAILABLE, 0, NULL, NULL, NULL, 0, 0, 0};
    gss_cred_id_t cred = NULL;
    gss_OID_set actual = NULL;
    if (!gssgo_fn.gss_add_cred_impersonate_name)
        return r;
    gssgo_block(&signals);
    r.major = gssgo_fn.gss_add_cred_impersonate_name(&r.minor, (gss_cred_id_t)in, (gss_cred_id_t)impersonator, (gss_name_t)name, (gss_OID)mech, usage,
                                                     initiator_lifetime, acceptor_lifetime, in_place ? NULL : &cred, &actual, &r.lifetime, &r.acceptor_lifetime);
    gssgo_unblock(&signals);
    r.cred = !in_place ? cred : (r.major & 0xffff0000u) ? NULL : in;
    r.mechs = actual;
    return r;
}

/* Heimdal 7.8 adds mech to elements_stored, and crashes if it is GSS_C_NO_OID: mech must be given there. */
static inline gssgo_cred gssgo_store_cred(void *in, int usage, void *mech, int overwrite, int byDefault) {
    sigset_t signals;
    gssgo_cred r = {GSSGO_S_UNAVAILABLE, 0, NULL, NULL, NULL, 0, 0, 0};
    gss_OID_set stored = NULL;
    if (!gssgo_fn.gss_store_cred)
        return r;
    gssgo_block(&signals);
    r.major = gssgo_fn.gss_store_cred(&r.minor, (gss_cred_id_t)in, usage, (gss_OID)mech, overwrite != 0, byDefault != 0, &stored, &r.usage);
    gssgo_unblock(&signals);
    r.mechs = stored;
    return r;
}

static inline gssgo_cred gssgo_store_cred_into(void *in, int usage, void *mech, int overwrite, int byDefault, const char *block, OM_uint32 count) {
    sigset_t signals;
    gssgo_cred r = {GSSGO_S_UNAVAILABLE, 0, NULL, NULL, NULL, 0, 0, 0};
    gssgo_kvset store;
    gss_key_value_element_desc *elements;
    gss_OID_set stored = NULL;
    if (!gssgo_fn.gss_store_cred_into)
        return r;
    elements = gssgo_store(&store, block, count);
    if (!elements) {
        r.major = GSSGO_S_FAILURE;
        return r;
    }
    gssgo_block(&signals);
    r.major = gssgo_fn.gss_store_cred_into(&r.minor, (gss_cred_id_t)in, usage, (gss_OID)mech, overwrite != 0, byDefault != 0, &store.set, &stored, &r.usage);
    gssgo_unblock(&signals);
    free(elements);
    r.mechs = stored;
    return r;
}

/* env: a gss_buffer_set_t of texts, to be released. */
typedef struct { gssgo_cred cred; void *env; } gssgo_stored;

static inline gssgo_stored gssgo_store_cred_into2(void *in, int usage, void *mech, OM_uint32 flags, const char *block, OM_uint32 count) {
    sigset_t signals;
    gssgo_stored r = {{GSSGO_S_UNAVAILABLE, 0, NULL, NULL, NULL, 0, 0, 0}, NULL};
    gssgo_kvset store;
    gss_key_value_element_desc *elements;
    gss_OID_set stored = NULL;
    gss_buffer_set_t env = NULL;
    if (!gssgo_fn.gss_store_cred_into2)
        return r;
    elements = gssgo_store(&store, block, count);
    if (!elements) {
        r.cred.major = GSSGO_S_FAILURE;
        return r;
    }
    gssgo_block(&signals);
    r.cred.major = gssgo_fn.gss_store_cred_into2(&r.cred.minor, (gss_cred_id_t)in, usage, (gss_OID)mech, flags, count ? &store.set : NULL,
                                                 &stored, &r.cred.usage, &env);
    gssgo_unblock(&signals);
    free(elements);
    r.cred.mechs = stored;
    r.env = env;
    return r;
}

static inline gssgo_handle gssgo_duplicate_cred(void *cred) {
    sigset_t signals;
    gssgo_handle r = {GSSGO_S_UNAVAILABLE, 0, NULL};
    gss_cred_id_t out = NULL;
    if (!gssgo_fn.gss_duplicate_cred)
        return r;
    gssgo_block(&signals);
    r.major = gssgo_fn.gss_duplicate_cred(&r.minor, (gss_cred_id_t)cred, &out);
    gssgo_unblock(&signals);
    r.handle = out;
    return r;
}

/* handle: what is left of it, if anything is. */
static inline gssgo_handle gssgo_destroy_cred(void *cred) {
    gssgo_handle r = {GSSGO_S_UNAVAILABLE, 0, cred};
    gss_cred_id_t c = (gss_cred_id_t)cred;
    if (!gssgo_fn.gss_destroy_cred)
        return r;
    r.major = gssgo_fn.gss_destroy_cred(&r.minor, &c);
    r.handle = c;
    return r;
}

static inline gssgo_buf gssgo_export_cred(void *cred) {
    gssgo_buf r = {GSSGO_S_UNAVAILABLE, 0, NULL, 0, NULL, 0};
    gss_buffer_desc out = {0, NULL};
    if (!gssgo_fn.gss_export_cred)
        return r;
    r.major = gssgo_fn.gss_export_cred(&r.minor, (gss_cred_id_t)cred, &out);
    r.buf = out.value;
    r.len = out.length;
    return r;
}

static inline gssgo_handle gssgo_import_cred(const unsigned char *tok, size_t n) {
    gssgo_handle r = {GSSGO_S_UNAVAILABLE, 0, NULL};
    gss_buffer_desc in = gssgo_in(tok, n);
    gss_cred_id_t cred = NULL;
    if (!gssgo_fn.gss_import_cred)
        return r;
    r.major = gssgo_fn.gss_import_cred(&r.minor, &in, &cred);
    r.handle = cred;
    return r;
}

static inline gssgo_status gssgo_set_neg_mechs(void *cred, void *mechs) {
    gssgo_status r = {GSSGO_S_UNAVAILABLE, 0};
    if (gssgo_fn.gss_set_neg_mechs)
        r.major = gssgo_fn.gss_set_neg_mechs(&r.minor, (gss_cred_id_t)cred, (gss_OID_set)mechs);
    return r;
}

static inline gssgo_handle gssgo_get_neg_mechs(void *cred) {
    gssgo_handle r = {GSSGO_S_UNAVAILABLE, 0, NULL};
    gss_OID_set mechs = NULL;
    if (!gssgo_fn.gss_get_neg_mechs)
        return r;
    r.major = gssgo_fn.gss_get_neg_mechs(&r.minor, (gss_cred_id_t)cred, &mechs);
    r.handle = mechs;
    return r;
}

static inline gssgo_set gssgo_inquire_cred_by_oid(void *cred, void *oid) {
    gssgo_set r = {GSSGO_S_UNAVAILABLE, 0, NULL};
    gss_buffer_set_t set = NULL;
    if (!gssgo_fn.gss_inquire_cred_by_oid)
        return r;
    r.major = gssgo_fn.gss_inquire_cred_by_oid(&r.minor, (gss_cred_id_t)cred, (gss_OID)oid, &set);
    r.set = set;
    return r;
}

/* No option that libraries are known to have puts another handle in the place of cred. */
static inline gssgo_status gssgo_set_cred_option(void *cred, void *oid, const unsigned char *value, size_t n) {
    gssgo_status r = {GSSGO_S_UNAVAILABLE, 0};
    gss_buffer_desc in = gssgo_in(value, n);
    gss_cred_id_t c = (gss_cred_id_t)cred;
    if (gssgo_fn.gss_set_cred_option)
        r.major = gssgo_fn.gss_set_cred_option(&r.minor, &c, (gss_OID)oid, &in);
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

/*
 * The parts of a message come as so many pointers and lengths, each an argument
 * of its own, and their types in 4 bits each of one word: Go may give C a pointer
 * to bytes, and not an array of pointers to bytes that is not pinned. A pin costs
 * 40 ns for each part and cannot be had for bytes in a Go object that has
 * pointers of its own; 16 arguments more cost 5 ns and no garbage. Eight parts do
 * for DCE/RPC (a header, data, a trailer, a token), for RFC 4121 with associated
 * data on both sides (6), and for a vector of a few pieces.
 */
#define GSSGO_IOV_MAX 8
#define GSSGO_IOV_ALLOCATED 0x20000u /* GSS_IOV_BUFFER_FLAG_ALLOCATED */
#define GSSGO_IOV_LENGTH_MAX 65536   /* what a header, a padding or a trailer may need */

typedef enum {
    GSSGO_WRAP_IOV,
    GSSGO_WRAP_IOV_LENGTH,
    GSSGO_UNWRAP_IOV,
    GSSGO_GET_MIC_IOV,
    GSSGO_GET_MIC_IOV_LENGTH,
    GSSGO_VERIFY_MIC_IOV
} gssgo_iov_call;

/* len: of each part, after the call. odd: the library reached out of the parts that it was given; nothing of them is to be used. */
typedef struct { OM_uint32 major, minor; OM_uint32 qop; int conf; int odd; size_t len[GSSGO_IOV_MAX]; } gssgo_iov;

static inline gssgo_iov gssgo_message_iov(gssgo_iov_call call, void *ctx, int conf, OM_uint32 qop, int count, uint64_t types,
                                          const unsigned char *p0, size_t n0, const unsigned char *p1, size_t n1,
                                          const unsigned char *p2, size_t n2, const unsigned char *p3, size_t n3,
                                          const unsigned char *p4, size_t n4, const unsigned char *p5, size_t n5,
                                          const unsigned char *p6, size_t n6, const unsigned char *p7, size_t n7) {
    gssgo_iov r = {GSSGO_S_UNAVAILABLE, 0, 0, 0, 0, {0}};
    gss_buffer_desc given[GSSGO_IOV_MAX];
    gss_iov_buffer_desc iov[GSSGO_IOV_MAX];
    gss_ctx_id_t c = (gss_ctx_id_t)ctx;
    int i, measures = call == GSSGO_WRAP_IOV_LENGTH || call == GSSGO_GET_MIC_IOV_LENGTH, allocated = 0;
    given[0] = gssgo_in(p0, n0);
    given[1] = gssgo_in(p1, n1);
    given[2] = gssgo_in(p2, n2);
    given[3] = gssgo_in(p3, n3);
    given[4] = gssgo_in(p4, n4);
    given[5] = gssgo_in(p5, n5);
    given[6] = gssgo_in(p6, n6);
    given[7] = gssgo_in(p7, n7);
    for (i = 0; i < count; i++) {
        iov[i].type = (types >> 4 * i) & 15;
        iov[i].buffer = given[i];
    }
    switch (call) {
    case GSSGO_WRAP_IOV:
        if (gssgo_fn.gss_wrap_iov)
            r.major = gssgo_fn.gss_wrap_iov(&r.minor, c, conf, qop, &r.conf, iov, count);
        break;
    case GSSGO_WRAP_IOV_LENGTH:
        if (gssgo_fn.gss_wrap_iov_length)
            r.major = gssgo_fn.gss_wrap_iov_length(&r.minor, c, conf, qop, &r.conf, iov, count);
        break;
    case GSSGO_UNWRAP_IOV:
        if (gssgo_fn.gss_unwrap_iov)
            r.major = gssgo_fn.gss_unwrap_iov(&r.minor, c, &r.conf, &r.qop, iov, count);
        break;
    case GSSGO_GET_MIC_IOV:
        if (gssgo_fn.gss_get_mic_iov)
            r.major = gssgo_fn.gss_get_mic_iov(&r.minor, c, qop, iov, count);
        break;
    case GSSGO_GET_MIC_IOV_LENGTH:
        if (gssgo_fn.gss_get_mic_iov_length)
            r.major = gssgo_fn.gss_get_mic_iov_length(&r.minor, c, qop, iov, count);
        break;
    case GSSGO_VERIFY_MIC_IOV:
        if (gssgo_fn.gss_verify_mic_iov)
            r.major = gssgo_fn.gss_verify_mic_iov(&r.minor, c, &r.qop, iov, count);
        break;
    }
    for (i = 0; i < count; i++) {
        const gss_buffer_desc *b = &iov[i].buffer;
        r.len[i] = b->length;
        if (iov[i].type & GSSGO_IOV_ALLOCATED) { /* it was not asked to */
            r.odd = 1;
            if (b->value == given[i].value)
                iov[i].type &= ~GSSGO_IOV_ALLOCATED;
            else
                allocated = 1;
        }
        if (measures ? b->length != given[i].length && b->length > GSSGO_IOV_LENGTH_MAX
                     : b->length > given[i].length || (b->length && b->value != given[i].value))
            r.odd = 1;
    }
    if (allocated && gssgo_fn.gss_release_iov_buffer) {
        OM_uint32 minor;
        gssgo_fn.gss_release_iov_buffer(&minor, iov, count);
    }
    return r;
}

static inline gssgo_msg gssgo_wrap_aead(void *ctx, int conf, OM_uint32 qop, const unsigned char *assoc, size_t assoclen, const unsigned char *msg, size_t n, unsigned char *dst, size_t cap) {
    gssgo_msg r = {GSSGO_S_UNAVAILABLE, 0, 0, 0, NULL, 0};
    gss_buffer_desc a = gssgo_in(assoc, assoclen), in = gssgo_in(msg, n), out = {0, NULL};
    if (!gssgo_fn.gss_wrap_aead)
        return r;
    r.major = gssgo_fn.gss_wrap_aead(&r.minor, (gss_ctx_id_t)ctx, conf, qop, assoclen ? &a : NULL, &in, &r.conf, &out);
    gssgo_deliver(&r, &out, dst, cap);
    return r;
}

/* Writes into tok. */
static inline gssgo_msg gssgo_unwrap_aead(void *ctx, unsigned char *tok, size_t n, const unsigned char *assoc, size_t assoclen, unsigned char *dst, size_t cap) {
    gssgo_msg r = {GSSGO_S_UNAVAILABLE, 0, 0, 0, NULL, 0};
    gss_buffer_desc a = gssgo_in(assoc, assoclen), in = gssgo_in(tok, n), out = {0, NULL};
    if (!gssgo_fn.gss_unwrap_aead)
        return r;
    r.major = gssgo_fn.gss_unwrap_aead(&r.minor, (gss_ctx_id_t)ctx, &in, assoclen ? &a : NULL, &out, &r.conf, &r.qop);
    gssgo_deliver(&r, &out, dst, cap);
    return r;
}

/* ---- Kerberos' own ---- */

/* (of credentials) */

#define GSSGO_TYPE(ret, name, args) typedef ret(*gssgo_##name##_fn) args;
GSSGO_KRB5_OPTIONAL(GSSGO_TYPE)
#undef GSSGO_TYPE

typedef struct gssgo_krb5 {
#define GSSGO_FIELD(ret, name, args) ret(*name) args;
    GSSGO_KRB5_TABLE(GSSGO_FIELD)
#undef GSSGO_FIELD
    krb5_context context;
} gssgo_krb5;

/* missing: the function that libkrb5 has not; text: why libkrb5 itself failed, or its answer, to be freed. */
typedef struct { OM_uint32 major, minor; void *handle; const char *missing; char *text; } gssgo_krb5_result;

static inline void gssgo_krb5_failed(gssgo_krb5 *k, gssgo_krb5_result *r, krb5_error_code code) {
    const char *text = k->krb5_get_error_message(k->context, code);
    r->major = GSSGO_S_FAILURE;
    r->minor = (OM_uint32)code;
    if (text) {
        r->text = strdup(text);
        k->krb5_free_error_message(k->context, text);
    }
}

/* Binds the table and makes a context; 0 on failure. */
static inline int gssgo_krb5_begin(gssgo_krb5 *k, gssgo_krb5_result *r) {
    krb5_error_code code;
    memset(k, 0, sizeof *k);
    memset(r, 0, sizeof *r);
    r->major = GSSGO_S_UNAVAILABLE;
#define GSSGO_BIND(ret, name, args)                \
    *(void **)&k->name = gssgo_symbol(#name);      \
    if (!k->name) {                                \
        r->missing = #name;                        \
        return 0;                                  \
    }
    GSSGO_KRB5_TABLE(GSSGO_BIND)
#undef GSSGO_BIND
    code = k->krb5_init_context(&k->context);
    if (code) {
        k->context = NULL;
        gssgo_krb5_failed(k, r, code);
        return 0;
    }
    k->krb5_clear_error_message(k->context); /* Heimdal 7.8 leaves one of a plugin that it did not find */
    r->major = 0;
    return 1;
}

/* The text that libkrb5 has for a minor status. */
static inline gssgo_krb5_result gssgo_krb5_explain(OM_uint32 minor) {
    gssgo_krb5 k;
    gssgo_krb5_result r;
    if (!gssgo_krb5_begin(&k, &r))
        return r;
    gssgo_krb5_failed(&k, &r, (krb5_error_code)minor);
    k.krb5_free_context(k.context);
    return r;
}

#define GSSGO_KRB5_CC_UNKNOWN_TYPE ((krb5_error_code)-1765328244)

/* NULL for an empty name, and on failure, which r tells. Heimdal after 7.8 takes TYPE:name for a file if it has no such type. */
static inline krb5_ccache gssgo_krb5_ccache(gssgo_krb5 *k, gssgo_krb5_result *r, const char *name) {
    krb5_ccache cc = NULL;
    size_t n = *name == '/' ? 0 : strcspn(name, ":");
    krb5_error_code code = *name && !r->major ? k->krb5_cc_resolve(k->context, name, &cc) : 0;
    if (!code && cc && n && name[n]) {
        const char *type = k->krb5_cc_get_type(k->context, cc);
        if (!type || strlen(type) != n || memcmp(type, name, n) != 0) {
            k->krb5_cc_close(k->context, cc);
            code = GSSGO_KRB5_CC_UNKNOWN_TYPE;
        }
    }
    if (!code)
        return cc;
    gssgo_krb5_failed(k, r, code);
    return NULL;
}

static inline krb5_keytab gssgo_krb5_keytab(gssgo_krb5 *k, gssgo_krb5_result *r, const char *name) {
    krb5_keytab kt = NULL;
    krb5_error_code code = *name && !r->major ? k->krb5_kt_resolve(k->context, name, &kt) : 0;
    if (!code)
        return kt;
    gssgo_krb5_failed(k, r, code);
    return NULL;
}

static inline krb5_principal gssgo_krb5_principal(gssgo_krb5 *k, gssgo_krb5_result *r, const char *name) {
    krb5_principal p = NULL;
    krb5_error_code code = *name && !r->major ? k->krb5_parse_name(k->context, name, &p) : 0;
    if (!code)
        return p;
    gssgo_krb5_failed(k, r, code);
    return NULL;
}

/* The calling thread has a default ccache of its own. */
static _Thread_local int gssgo_krb5_ccache_named;

/* Of the calling thread. name is not NULL: Heimdal 7.8 looks at it. */
static inline gssgo_status gssgo_krb5_ccache_name(const char *name) {
    gssgo_status r = {GSSGO_S_UNAVAILABLE, 0};
    gssgo_krb5_ccache_named = 1;
    if (gssgo_fn.gss_krb5_ccache_name)
        r.major = gssgo_fn.gss_krb5_ccache_name(&r.minor, name, NULL);
    return r;
}

/*
 * principal is the client's: MIT copies into a cache that was initialized, Heimdal does that itself. What is copied
 * goes through memory: a cache that is copied onto itself would be emptied first, and one that cannot be copied
 * leaves what was there alone.
 */
static inline gssgo_krb5_result gssgo_krb5_copy_ccache(void *cred, const char *name, const char *principal) {
    gssgo_krb5_cc_copy_creds_fn copy;
    krb5_error_code code = 0;
    gssgo_krb5 k;
    gssgo_krb5_result r;
    krb5_ccache cc, tmp = NULL;
    krb5_principal p;
    memset(&r, 0, sizeof r);
    r.major = GSSGO_S_UNAVAILABLE;
    if (!gssgo_fn.gss_krb5_copy_ccache)
        return r;
    *(void **)&copy = gssgo_symbol("krb5_cc_copy_creds");
    if (!copy)
        *(void **)&copy = gssgo_symbol("krb5_cc_copy_cache"); /* Heimdal */
    if (!copy) {
        r.missing = "krb5_cc_copy_creds";
        return r;
    }
    if (!gssgo_krb5_begin(&k, &r))
        return r;
    cc = gssgo_krb5_ccache(&k, &r, name);
    p = gssgo_krb5_principal(&k, &r, principal);
    if (!r.major)
        code = k.krb5_cc_new_unique(k.context, "MEMORY", NULL, &tmp);
    if (!r.major && !code)
        code = k.krb5_cc_initialize(k.context, tmp, p);
    if (!r.major && !code)
        r.major = gssgo_fn.gss_krb5_copy_ccache(&r.minor, (gss_cred_id_t)cred, tmp);
    if (!r.major && !code)
        code = k.krb5_cc_initialize(k.context, cc, p);
    if (!r.major && !code)
        code = copy(k.context, tmp, cc);
    if (code)
        gssgo_krb5_failed(&k, &r, code);
    if (tmp)
        k.krb5_cc_destroy(k.context, tmp);
    if (p)
        k.krb5_free_principal(k.context, p);
    if (cc)
        k.krb5_cc_close(k.context, cc);
    k.krb5_free_context(k.context);
    return r;
}

/*
 * The file of a ccache, ":/dir/tkt", as text, if Heimdal has it in a directory. An empty name is the default ccache
 * of the environment, if it is that of the thread.
 */
static inline gssgo_krb5_result gssgo_krb5_dir_file(const char *name) {
    gssgo_krb5 k;
    gssgo_krb5_result r;
    krb5_ccache cc = NULL;
    krb5_error_code code;
    const char *type, *file;
    memset(&r, 0, sizeof r);
    if ((!*name && gssgo_krb5_ccache_named) || !gssgo_krb5_begin(&k, &r))
        return r;
    code = *name ? k.krb5_cc_resolve(k.context, name, &cc) : k.krb5_cc_default(k.context, &cc);
    if (code) {
        gssgo_krb5_failed(&k, &r, code);
    } else {
        type = k.krb5_cc_get_type(k.context, cc);
        file = k.krb5_cc_get_name(k.context, cc);
        if (type && file && strcmp(type, "DIR") == 0)
            r.text = strdup(file);
        k.krb5_cc_close(k.context, cc);
    }
    k.krb5_free_context(k.context);
    return r;
}

static inline gssgo_krb5_result gssgo_krb5_destroy_ccache(const char *name) {
    gssgo_krb5 k;
    gssgo_krb5_result r;
    krb5_ccache cc;
    krb5_error_code code;
    if (!gssgo_krb5_begin(&k, &r))
        return r;
    cc = gssgo_krb5_ccache(&k, &r, name);
    if (cc && (code = k.krb5_cc_destroy(k.context, cc)) != 0)
        gssgo_krb5_failed(&k, &r, code);
    k.krb5_free_context(k.context);
    return r;
}

/* An empty string is none. Both libraries make handles of their own from the names of what they get. */
static inline gssgo_krb5_result gssgo_krb5_import_cred(const char *ccache, const char *principal, const char *keytab) {
    sigset_t signals;
    gssgo_krb5 k;
    gssgo_krb5_result r;
    krb5_ccache cc;
    krb5_principal p;
    krb5_keytab kt;
    gss_cred_id_t cred = NULL;
    if (!gssgo_fn.gss_krb5_import_cred) {
        memset(&r, 0, sizeof r);
        r.major = GSSGO_S_UNAVAILABLE;
        return r;
    }
    if (!gssgo_krb5_begin(&k, &r))
        return r;
    cc = gssgo_krb5_ccache(&k, &r, ccache);
    p = gssgo_krb5_principal(&k, &r, principal);
    kt = gssgo_krb5_keytab(&k, &r, keytab);
    if (!r.major) {
        gssgo_block(&signals);
        r.major = gssgo_fn.gss_krb5_import_cred(&r.minor, cc, p, kt, &cred);
        gssgo_unblock(&signals);
    }
    if (kt)
        k.krb5_kt_close(k.context, kt);
    if (p)
        k.krb5_free_principal(k.context, p);
    if (cc)
        k.krb5_cc_close(k.context, cc);
    k.krb5_free_context(k.context);
    r.handle = cred;
    return r;
}

/* Heimdal 7.8 takes any list, and no notice of one in which it knows nothing. */
static inline gssgo_krb5_result gssgo_krb5_set_allowable_enctypes(void *cred, const int32_t *types, OM_uint32 count) {
    gssgo_krb5_enctype_valid_fn valid;
    krb5_error_code code = 0;
    gssgo_krb5 k;
    gssgo_krb5_result r;
    OM_uint32 i;
    memset(&r, 0, sizeof r);
    r.major = GSSGO_S_UNAVAILABLE;
    if (!gssgo_fn.gss_krb5_set_allowable_enctypes)
        return r;
    *(void **)&valid = gssgo_mit ? NULL : gssgo_symbol("krb5_enctype_valid");
    if (valid) {
        if (!gssgo_krb5_begin(&k, &r))
            return r;
        for (i = 0; i < count && (code = valid(k.context, types[i])) != 0; i++)
            ;
        if (code)
            gssgo_krb5_failed(&k, &r, code);
        k.krb5_free_context(k.context);
        if (code)
            return r;
    }
    r.major = gssgo_fn.gss_krb5_set_allowable_enctypes(&r.minor, (gss_cred_id_t)cred, count, (krb5_enctype *)types);
    return r;
}

/* The credential owns the replay cache once it has it. MIT alone, whose k5_rc_resolve is not in its headers. */
static inline gssgo_krb5_result gssgo_krb5_set_cred_rcache(void *cred, const char *name) {
    krb5_error_code (*resolve)(krb5_context, const char *, krb5_rcache *);
    void (*close)(krb5_context, krb5_rcache);
    gssgo_krb5 k;
    gssgo_krb5_result r;
    krb5_rcache rc = NULL;
    krb5_error_code code;
    memset(&r, 0, sizeof r);
    r.major = GSSGO_S_UNAVAILABLE;
    if (!gssgo_fn.gss_krb5_set_cred_rcache)
        return r;
    *(void **)&resolve = gssgo_symbol("k5_rc_resolve");
    *(void **)&close = gssgo_symbol("k5_rc_close");
    if (!resolve || !close) {
        r.missing = resolve ? "k5_rc_close" : "k5_rc_resolve";
        return r;
    }
    if (!gssgo_krb5_begin(&k, &r))
        return r;
    code = resolve(k.context, name, &rc);
    if (code)
        gssgo_krb5_failed(&k, &r, code);
    else if ((r.major = gssgo_fn.gss_krb5_set_cred_rcache(&r.minor, (gss_cred_id_t)cred, rc)) != 0)
        close(k.context, rc);
    k.krb5_free_context(k.context);
    return r;
}

/* An empty keytab is the default again: NULL for MIT, while Heimdal 7.8 crashes on that. MIT has the second name only. */
static inline gssgo_status gssgo_register_acceptor_identity(const char *keytab) {
    gssgo_status r = {GSSGO_S_UNAVAILABLE, 0};
    if (gssgo_fn.gsskrb5_register_acceptor_identity)
        r.major = gssgo_fn.gsskrb5_register_acceptor_identity(keytab);
    else if (gssgo_fn.krb5_gss_register_acceptor_identity)
        r.major = gssgo_fn.krb5_gss_register_acceptor_identity(*keytab ? keytab : NULL);
    return r;
}

/* (of contexts and the library) */

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
typedef enum { GSSGO_KEY_SERVICE, GSSGO_KEY_INITIATOR, GSSGO_KEY_TOKEN } gssgo_which_key;

static inline gssgo_key gssgo_krb5_key(void *ctx, gssgo_which_key which) {
    static const char *const objects[] = {"__gss_krb5_get_service_keyblock_x_oid_desc", "__gss_krb5_get_initiator_subkey_x_oid_desc", "__gss_krb5_get_subkey_x_oid_desc"};
    OM_uint32 (*get)(OM_uint32 *, gss_ctx_id_t, GSSGO_KEYBLOCK **) = NULL;
    gssgo_key r = {GSSGO_S_UNAVAILABLE, 0, NULL, 0, {NULL, 0}};
    void *object, *key = NULL;
    switch (which) {
    case GSSGO_KEY_SERVICE:
        get = gssgo_fn.gsskrb5_extract_service_keyblock;
        break;
    case GSSGO_KEY_INITIATOR:
        get = gssgo_fn.gsskrb5_get_initiator_subkey;
        break;
    case GSSGO_KEY_TOKEN:
        get = gssgo_fn.gsskrb5_get_subkey;
        break;
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
    gssgo_krb5_free_keyblock_fn f;
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

/* The library keeps the first function that it is given, for good: gssgo_log_to changes what that does. minor: errno. */
static inline gssgo_status gssgo_set_log_function(int fd) {
    gssgo_status r = {GSSGO_S_UNAVAILABLE, 0};
    if (!gssgo_fn.gss_set_log_function)
        return r;
    r.minor = (OM_uint32)gssgo_log_to(fd);
    r.major = r.minor ? GSSGO_S_FAILURE : 0;
    if (!r.major)
        gssgo_fn.gss_set_log_function(NULL, gssgo_log);
    return r;
}

static inline const char *gssgo_check_version(void) { return gssgo_fn.gss_check_version(NULL); }

#endif
