"""PTX instructions that only compute, as LLVM IR. Mixed into `ptx.translate.Translation`."""

import re

from llvmlite import ir

from ptx.parse import WIDTH, Instruction, Unsupported

I1, I16, I32, I64 = (ir.IntType(n) for n in (1, 16, 32, 64))
FLOAT, DOUBLE, HALF = ir.FloatType(), ir.DoubleType(), ir.HalfType()
FLOATS = {"f32": FLOAT, "f64": DOUBLE, "f16": HALF}
_ORDERED = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "lo": "<",
            "ls": "<=", "hi": ">", "hs": ">="}  # fmt: skip
_UNORDERED = {"equ": "==", "neu": "!=", "ltu": "<", "leu": "<=", "gtu": ">", "geu": ">="}
_ROUND_TO_INTEGER = {"rni": "llvm.rint", "rzi": "llvm.trunc", "rmi": "llvm.floor",
                     "rpi": "llvm.ceil"}  # fmt: skip


class Arithmetic:
    """`compute` and its parts; a Translation has the builder and the registers."""

    def compute(self, item: Instruction, name: str) -> None:
        """One instruction, by the method of its name."""
        method = getattr(self, f"op_{name}", None)
        if method is None:
            raise Unsupported(f"line {item.line}: {'.'.join(item.op)}")
        method(item)

    # --- values as floats ---------------------------------------------------------------------

    def real(self, text: str, kind: str) -> ir.Value:
        """An operand as a float (bfloat16 as the float32 that it is the upper half of)."""
        held = self.value(text, kind)
        if kind == "bf16":
            wide = self.builder.shl(self.builder.zext(held, I32), I32(16))
            return self.builder.bitcast(wide, FLOAT)
        return self.builder.bitcast(held, FLOATS[kind])

    def raw(self, value: ir.Value, kind: str) -> ir.Value:
        """A float as the integer that holds it; to bfloat16 it is rounded half to even."""
        if kind != "bf16":
            return self.builder.bitcast(value, ir.IntType(8 * WIDTH[kind]))
        b = self.builder
        whole = b.bitcast(value, I32)
        odd = b.and_(b.lshr(whole, I32(16)), I32(1))
        rounded = b.lshr(b.add(b.add(whole, I32(0x7FFF)), odd), I32(16))
        nan = b.fcmp_unordered("uno", value, value)
        return b.trunc(b.select(nan, I32(0x7FFF), rounded), I16)

    def intrinsic(self, name: str, *values: ir.Value) -> ir.Value:
        """A call of an LLVM intrinsic overloaded on the first value's type."""
        kind = values[0].type
        function = self.module.declare_intrinsic(
            name, [kind], ir.FunctionType(kind, [kind] * len(values))
        )
        return self.builder.call(function, values)

    def _binary(self, item: Instruction, whole: str, floating: str) -> None:
        kind = item.op[-1]
        _, a, b = item.args
        if kind in FLOATS or kind == "bf16":
            if {"rz", "rm", "rp", "sat", "ftz"} & set(item.op):
                raise Unsupported(f"line {item.line}: {'.'.join(item.op)}")
            x, y = self.real(a, kind), self.real(b, kind)
            self.put(item.args[0], self.raw(getattr(self.builder, floating)(x, y), kind))
        else:
            x, y = self.value(a, kind), self.value(b, kind)
            self.put(item.args[0], getattr(self.builder, whole)(x, y))

    def op_add(self, item: Instruction) -> None:
        self._binary(item, "add", "fadd")

    def op_sub(self, item: Instruction) -> None:
        self._binary(item, "sub", "fsub")

    def op_mul(self, item: Instruction) -> None:
        """mul, mul.lo, mul.hi, mul.wide."""
        kind = item.op[-1]
        if kind in FLOATS or kind == "bf16" or "lo" in item.op:
            self._binary(item, "mul", "fmul")
            return
        signed, width = kind[0] == "s", 8 * WIDTH[kind]
        extend = self.builder.sext if signed else self.builder.zext
        wide = ir.IntType(2 * width)
        x, y = (extend(self.value(a, kind), wide) for a in item.args[1:])
        product = self.builder.mul(x, y)
        if "hi" in item.op:
            product = self.builder.trunc(
                self.builder.lshr(product, ir.Constant(wide, width)), ir.IntType(width)
            )
        self.put(item.args[0], product, signed)

    def op_mad(self, item: Instruction) -> None:
        kind, b = item.op[-1], self.builder
        if kind in FLOATS:
            self.op_fma(item)
            return
        signed = kind[0] == "s"
        if "wide" in item.op:
            wide = ir.IntType(16 * WIDTH[kind])
            extend = b.sext if signed else b.zext
            x, y = (extend(self.value(a, kind), wide) for a in item.args[1:3])
            self.put(item.args[0], b.add(b.mul(x, y), self.value(item.args[3], f"b{wide.width}")))
            return
        if "lo" not in item.op:
            raise Unsupported(f"line {item.line}: {'.'.join(item.op)}")
        x, y, z = (self.value(a, kind) for a in item.args[1:])
        self.put(item.args[0], b.add(b.mul(x, y), z))

    def op_fma(self, item: Instruction) -> None:
        kind = item.op[-1]
        if {"rz", "rm", "rp", "sat", "ftz", "relu"} & set(item.op) or kind == "bf16":
            raise Unsupported(f"line {item.line}: {'.'.join(item.op)}")
        x, y, z = (self.real(a, kind) for a in item.args[1:])
        self.put(item.args[0], self.raw(self.intrinsic("llvm.fma", x, y, z), kind))

    def op_div(self, item: Instruction) -> None:
        self._binary(item, "sdiv" if item.op[-1][0] == "s" else "udiv", "fdiv")

    def op_rem(self, item: Instruction) -> None:
        self._binary(item, "srem" if item.op[-1][0] == "s" else "urem", "frem")

    def op_and(self, item: Instruction) -> None:
        self._binary(item, "and_", "")

    def op_or(self, item: Instruction) -> None:
        self._binary(item, "or_", "")

    def op_xor(self, item: Instruction) -> None:
        self._binary(item, "xor", "")

    def _shift(self, item: Instruction, method: str) -> None:
        kind, b = item.op[-1], self.builder
        x, width = self.value(item.args[1], kind), 8 * WIDTH[kind]
        by = self.value(item.args[2], "b32")
        most = I32(width - 1)
        past = b.icmp_unsigned(">", by, most)
        inside = self._fit(b.select(past, most, by), x.type, False)
        shifted = getattr(b, method)(x, inside)
        if method != "ashr":  # a shift past the width leaves nothing; arithmetic, the sign
            shifted = b.select(past, ir.Constant(x.type, 0), shifted)
        self.put(item.args[0], shifted)

    def op_shl(self, item: Instruction) -> None:
        self._shift(item, "shl")

    def op_shr(self, item: Instruction) -> None:
        self._shift(item, "ashr" if item.op[-1][0] == "s" else "lshr")

    def op_shf(self, item: Instruction) -> None:
        _, low, high, by = (None, *item.args[1:])
        b = self.builder
        pair = b.or_(b.zext(self.value(low, "b32"), I64),
                     b.shl(b.zext(self.value(high, "b32"), I64), I64(32)))  # fmt: skip
        count = b.zext(self.value(by, "b32"), I64)
        if "wrap" in item.op:
            count = b.and_(count, I64(31))
        else:
            count = b.select(b.icmp_unsigned(">", count, I64(32)), I64(32), count)
        if item.op[1] == "r":
            self.put(item.args[0], b.trunc(b.lshr(pair, count), I32))
        else:
            self.put(item.args[0], b.trunc(b.lshr(b.shl(pair, count), I64(32)), I32))

    def op_neg(self, item: Instruction) -> None:
        kind = item.op[-1]
        held, b = self.value(item.args[1], kind), self.builder
        if kind in FLOATS or kind == "bf16":
            self.put(item.args[0], b.xor(held, ir.Constant(held.type, 1 << held.type.width - 1)))
        else:
            self.put(item.args[0], b.neg(held))

    def op_abs(self, item: Instruction) -> None:
        kind, b = item.op[-1], self.builder
        held = self.value(item.args[1], kind)
        if kind in FLOATS or kind == "bf16":
            mask = (1 << held.type.width - 1) - 1
            self.put(item.args[0], b.and_(held, ir.Constant(held.type, mask)))
        else:
            negative = b.icmp_signed("<", held, ir.Constant(held.type, 0))
            self.put(item.args[0], b.select(negative, b.neg(held), held))

    def op_not(self, item: Instruction) -> None:
        self.put(item.args[0], self.builder.not_(self.value(item.args[1], item.op[-1])))

    def op_sqrt(self, item: Instruction) -> None:
        kind = item.op[-1]
        root = self.intrinsic("llvm.sqrt", self.real(item.args[1], kind))
        self.put(item.args[0], self.raw(root, kind))

    def op_rcp(self, item: Instruction) -> None:
        kind = item.op[-1]
        x = self.real(item.args[1], kind)
        self.put(item.args[0], self.raw(self.builder.fdiv(ir.Constant(x.type, 1), x), kind))

    def op_ex2(self, item: Instruction) -> None:
        self._approximate(item, "llvm.exp2")

    def op_lg2(self, item: Instruction) -> None:
        self._approximate(item, "llvm.log2")

    def _approximate(self, item: Instruction, name: str) -> None:
        # The hardware's own approximation is not modelled: this one is nearer the truth.
        value = self.intrinsic(name, self.real(item.args[1], item.op[-1]))
        self.put(item.args[0], self.raw(value, item.op[-1]))

    def op_copysign(self, item: Instruction) -> None:
        kind = item.op[-1]
        sign, size = self.real(item.args[1], kind), self.real(item.args[2], kind)
        self.put(item.args[0], self.raw(self.intrinsic("llvm.copysign", size, sign), kind))

    # --- max and min --------------------------------------------------------------------------

    def op_max(self, item: Instruction) -> None:
        self._extreme(item, ">")

    def op_min(self, item: Instruction) -> None:
        self._extreme(item, "<")

    def _extreme(self, item: Instruction, op: str) -> None:
        kind, b = item.op[-1], self.builder
        if kind in ("f16x2", "bf16x2"):
            lanes = []
            for shift in (0, 16):
                x, y = (b.trunc(b.lshr(self.value(a, "b32"), I32(shift)), I16)
                        for a in item.args[1:])  # fmt: skip
                best = self._best(x, y, kind[:-2], op, "NaN" in item.op)
                lanes.append(b.shl(b.zext(best, I32), I32(shift)))
            self.put(item.args[0], b.or_(*lanes))
            return
        x, y = (self.value(a, kind) for a in item.args[1:3])
        best = self._best(x, y, kind, op, "NaN" in item.op)
        if len(item.args) == 4:  # three operands, from sm_100 on
            best = self._best(best, self.value(item.args[3], kind), kind, op, "NaN" in item.op)
        self.put(item.args[0], best)

    def _best(self, x: ir.Value, y: ir.Value, kind: str, op: str, keeps_nan: bool) -> ir.Value:
        b = self.builder
        if kind not in FLOATS and kind != "bf16":
            compare = b.icmp_signed if kind[0] == "s" else b.icmp_unsigned
            return b.select(compare(op, x, y), x, y)
        p, q = (self.real_of(v, kind) for v in (x, y))
        # Of two zeros, +0 is the greater.
        tie = b.and_(x, y) if op == ">" else b.or_(x, y)
        best = b.select(b.fcmp_ordered(op, p, q), x, y)
        best = b.select(b.fcmp_ordered("==", p, q), tie, best)
        if keeps_nan:
            quiet = {"f32": 0x7FFFFFFF, "f16": 0x7FFF, "bf16": 0x7FFF, "f64": (1 << 63) - 1}[kind]
            return b.select(b.fcmp_unordered("uno", p, q), ir.Constant(x.type, quiet), best)
        best = b.select(b.fcmp_unordered("uno", p, p), y, best)
        return b.select(b.fcmp_unordered("uno", q, q), x, best)

    def real_of(self, held: ir.Value, kind: str) -> ir.Value:
        """The float whose bits an integer holds."""
        if kind == "bf16":
            wide = self.builder.shl(self.builder.zext(held, I32), I32(16))
            return self.builder.bitcast(wide, FLOAT)
        return self.builder.bitcast(held, FLOATS[kind])

    # --- comparisons and selections -----------------------------------------------------------

    def _test(self, op: str, a: str, b: str, kind: str) -> ir.Value:
        build = self.builder
        if kind in FLOATS or kind == "bf16":
            x, y = self.real(a, kind), self.real(b, kind)
            if op in ("num", "nan"):
                ordered = build.fcmp_ordered("ord", x, y)
                return ordered if op == "num" else build.not_(ordered)
            if op in _UNORDERED:
                return build.fcmp_unordered(_UNORDERED[op], x, y)
            return build.fcmp_ordered(_ORDERED[op], x, y)
        x, y = self.value(a, kind), self.value(b, kind)
        signed = kind[0] == "s" and op not in ("lo", "ls", "hi", "hs")
        return (build.icmp_signed if signed else build.icmp_unsigned)(_ORDERED[op], x, y)

    def op_setp(self, item: Instruction) -> None:
        kind, b = item.op[-1], self.builder
        test = self._test(item.op[1], item.args[1], item.args[2], kind)
        into = item.args[0].split("|")
        joined, other = test, b.not_(test)
        if len(item.args) > 3:
            text = item.args[3]
            third = b.not_(self.value(text[1:], "pred")) if text[0] == "!" else self.value(
                text, "pred")  # fmt: skip
            join = {"and": b.and_, "or": b.or_, "xor": b.xor}[item.op[2]]
            joined, other = join(test, third), join(other, third)
        self.put(into[0], joined)
        if len(into) > 1:
            self.put(into[1], other)

    def op_set(self, item: Instruction) -> None:
        test = self._test(item.op[1], item.args[1], item.args[2], item.op[-1])
        if item.op[-2] == "f32":
            value = self.builder.select(test, I32(0x3F800000), I32(0))
        else:
            value = self.builder.sext(test, I32)
        self.put(item.args[0], value)

    def op_selp(self, item: Instruction) -> None:
        kind = item.op[-1]
        x, y = self.value(item.args[1], kind), self.value(item.args[2], kind)
        self.put(item.args[0], self.builder.select(self.value(item.args[3], "pred"), x, y))

    def op_slct(self, item: Instruction) -> None:
        kind = item.op[1]
        x, y = self.value(item.args[1], kind), self.value(item.args[2], kind)
        test = self._test("ge", item.args[3], "0", item.op[2])
        self.put(item.args[0], self.builder.select(test, x, y))

    # --- moves, conversions, bits -------------------------------------------------------------

    def op_mov(self, item: Instruction) -> None:
        kind = item.op[-1]
        into, source = item.args
        if into.startswith("{"):
            names = into.strip("{} ").replace(" ", "").split(",")
            held, width = self.value(source, kind), 8 * WIDTH[kind] // len(names)
            for i, name in enumerate(names):
                part = self.builder.lshr(held, ir.Constant(held.type, i * width))
                self.put(name, self.builder.trunc(part, ir.IntType(width)))
        elif source.startswith("{"):
            names = source.strip("{} ").replace(" ", "").split(",")
            whole, width = ir.IntType(8 * WIDTH[kind]), 8 * WIDTH[kind] // len(names)
            held = ir.Constant(whole, 0)
            for i, name in enumerate(names):
                part = self.builder.zext(self.value(name, f"b{width}"), whole)
                held = self.builder.or_(
                    held, self.builder.shl(part, ir.Constant(whole, i * width)))  # fmt: skip
            self.put(into, held)
        else:
            self.put(into, self.value(source, kind))

    def op_cvta(self, item: Instruction) -> None:
        self.put(item.args[0], self.value(item.args[1], "b64"))

    def op_cvt(self, item: Instruction) -> None:
        to, source = item.op[-2:]
        text, b = item.args[1], self.builder
        if "x2" in to or {"ftz", "rm", "rp", "rz", "relu"} & set(item.op):
            raise Unsupported(f"line {item.line}: {'.'.join(item.op)}")
        floats = (*FLOATS, "bf16")
        if source in floats and to in floats:
            x = self.real(text, source)
            rounding = next((r for r in _ROUND_TO_INTEGER if r in item.op), None)
            if rounding:
                x = self.intrinsic(_ROUND_TO_INTEGER[rounding], x)
            kind = FLOAT if to == "bf16" else FLOATS[to]
            order = [HALF, FLOAT, DOUBLE]
            if order.index(x.type) < order.index(kind):
                x = b.fpext(x, kind)
            elif x.type != kind:
                x = b.fptrunc(x, kind)
            if "sat" in item.op:
                raise Unsupported(f"line {item.line}: {'.'.join(item.op)}")
            self.put(item.args[0], self.raw(x, to))
        elif source in floats:
            self._to_integer(item, to, self.real(text, source))
        elif to in floats:
            held = self.value(text, source)
            if to == "bf16":
                raise Unsupported(f"line {item.line}: {'.'.join(item.op)}")
            convert = b.sitofp if source[0] == "s" else b.uitofp
            self.put(item.args[0], self.raw(convert(held, FLOATS[to]), to))
        else:
            held = self._fit(self.value(text, source), ir.IntType(8 * WIDTH[to]), source[0] == "s")
            self.put(item.args[0], held, to[0] == "s")

    def _to_integer(self, item: Instruction, to: str, x: ir.Value) -> None:
        b = self.builder
        rounding = next(r for r in _ROUND_TO_INTEGER if r in item.op)
        x = self.intrinsic(_ROUND_TO_INTEGER[rounding], x)
        name = "llvm.fptosi.sat" if to[0] == "s" else "llvm.fptoui.sat"
        kind = ir.IntType(8 * WIDTH[to])
        suffix = {FLOAT: "f32", DOUBLE: "f64", HALF: "f16"}[x.type]
        full = f"{name}.i{kind.width}.{suffix}"
        function = self.module.globals.get(full) or ir.Function(
            self.module, ir.FunctionType(kind, [x.type]), full
        )
        self.put(item.args[0], b.call(function, [x]), to[0] == "s")

    def op_prmt(self, item: Instruction) -> None:
        b = self.builder
        if len(item.op) > 2:
            raise Unsupported(f"line {item.line}: {'.'.join(item.op)}")
        x, y = (b.zext(self.value(a, "b32"), I64) for a in item.args[1:3])
        pair, control = b.or_(x, b.shl(y, I64(32))), self.value(item.args[3], "b32")
        result = I32(0)
        for i in range(4):
            chosen = b.and_(b.lshr(control, I32(4 * i)), I32(15))
            shift = b.zext(b.mul(b.and_(chosen, I32(7)), I32(8)), I64)
            byte = b.and_(b.trunc(b.lshr(pair, shift), I32), I32(255))
            sign = b.select(b.icmp_unsigned(">=", byte, I32(128)), I32(255), I32(0))
            byte = b.select(b.icmp_unsigned(">=", chosen, I32(8)), sign, byte)
            result = b.or_(result, b.shl(byte, I32(8 * i)))
        self.put(item.args[0], result)

    def op_bfe(self, item: Instruction) -> None:
        kind, b = item.op[-1], self.builder
        if not re.fullmatch(r"\d+", item.args[2] + item.args[3]):
            raise Unsupported(f"line {item.line}: bfe of a run-time field")
        at, length = int(item.args[2]), int(item.args[3])
        held, width = self.value(item.args[1], kind), 8 * WIDTH[kind]
        length = min(length, width - at)
        up = b.shl(held, ir.Constant(held.type, width - at - length))
        down = b.ashr if kind[0] == "s" else b.lshr
        self.put(item.args[0], down(up, ir.Constant(held.type, width - length)))

    def op_bfi(self, item: Instruction) -> None:
        kind, b = item.op[-1], self.builder
        if not re.fullmatch(r"\d+", item.args[3] + item.args[4]):
            raise Unsupported(f"line {item.line}: bfi of a run-time field")
        at, length = int(item.args[3]), int(item.args[4])
        x, y = self.value(item.args[1], kind), self.value(item.args[2], kind)
        width = 8 * WIDTH[kind]
        mask = ((1 << min(length, width)) - 1 << at) & ((1 << width) - 1)
        field = b.and_(b.shl(x, ir.Constant(x.type, at)), ir.Constant(x.type, mask))
        rest = b.and_(y, ir.Constant(x.type, ~mask & (1 << width) - 1))
        self.put(item.args[0], b.or_(field, rest))

    def op_lop3(self, item: Instruction) -> None:
        b, table = self.builder, int(item.args[4], 0)
        x, y, z = (self.value(a, "b32") for a in item.args[1:4])
        result = I32(0)
        for i in range(8):
            if table >> i & 1:
                terms = [v if i >> (2 - k) & 1 else b.not_(v) for k, v in enumerate((x, y, z))]
                result = b.or_(result, b.and_(b.and_(terms[0], terms[1]), terms[2]))
        self.put(item.args[0], result)

    def op_clz(self, item: Instruction) -> None:
        kind = item.op[-1]
        held = self.value(item.args[1], kind)
        zeros = self.builder.ctlz(held, I1(0))
        self.put(item.args[0], self._fit(zeros, I32, False))

    def op_popc(self, item: Instruction) -> None:
        held = self.value(item.args[1], item.op[-1])
        self.put(item.args[0], self._fit(self.builder.ctpop(held), I32, False))

    def op_testp(self, item: Instruction) -> None:
        kind, what = item.op[-1], item.op[1]
        held, b = self.value(item.args[1], kind), self.builder
        width = held.type.width
        mask = ir.Constant(held.type, (1 << width - 1) - 1)
        size = b.and_(held, mask)
        infinity = ir.Constant(held.type, {"f32": 0x7F800000, "f64": 0x7FF << 52}[kind])
        test = {"finite": "<", "infinite": "==", "notanumber": ">", "number": "<="}[what]
        self.put(item.args[0], b.icmp_unsigned(test, size, infinity))
