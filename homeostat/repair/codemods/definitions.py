"""Renaming what a module or a class defines."""

from __future__ import annotations

import libcst as cst

from homeostat.repair.codemods.functions import _Scoped


class _RenameDefinition(_Scoped):
    """Renames `owner.old`: the definition, and its uses in the same file.

    A module-level name is used as a plain name; a member is used as an attribute.
    """

    def __init__(self, owner: str, old: str, new: str) -> None:
        super().__init__()
        self._owner, self._old, self._new = owner, old, new
        self.done = 0

    def _renamed(self, name: cst.Name) -> cst.Name:
        return name.with_changes(value=self._new)

    def leave_FunctionDef(
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.BaseStatement:
        del self._scope[-2:]
        if original_node.name.value == self._old and self.qualname == self._owner:
            self.done += 1
            return updated_node.with_changes(name=self._renamed(updated_node.name))
        return updated_node.with_changes(name=original_node.name)

    def leave_ClassDef(
        self, original_node: cst.ClassDef, updated_node: cst.ClassDef
    ) -> cst.BaseStatement:
        self._scope.pop()
        if original_node.name.value == self._old and self.qualname == self._owner:
            self.done += 1
            return updated_node.with_changes(name=self._renamed(updated_node.name))
        return updated_node.with_changes(name=original_node.name)

    def leave_AssignTarget(
        self, original_node: cst.AssignTarget, updated_node: cst.AssignTarget
    ) -> cst.AssignTarget:
        if self._is_old(original_node.target) and self.qualname == self._owner:
            self.done += 1
            return updated_node.with_changes(target=cst.Name(self._new))
        return updated_node

    def leave_AnnAssign(
        self, original_node: cst.AnnAssign, updated_node: cst.AnnAssign
    ) -> cst.BaseSmallStatement:
        if self._is_old(original_node.target) and self.qualname == self._owner:
            self.done += 1
            return updated_node.with_changes(target=cst.Name(self._new))
        return updated_node

    def _is_old(self, node: cst.BaseExpression) -> bool:
        return isinstance(node, cst.Name) and node.value == self._old

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.BaseExpression:
        if not self._owner and original_node.value == self._old:
            return self._renamed(updated_node)
        return updated_node

    def leave_Attribute(
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.BaseExpression:
        if self._owner and original_node.attr.value == self._old:
            return updated_node.with_changes(attr=self._renamed(original_node.attr))
        return updated_node.with_changes(attr=original_node.attr)

    def leave_Arg(self, original_node: cst.Arg, updated_node: cst.Arg) -> cst.Arg:
        return updated_node.with_changes(keyword=original_node.keyword)

    def leave_Param(self, original_node: cst.Param, updated_node: cst.Param) -> cst.Param:
        return updated_node.with_changes(name=original_node.name)


def rename_definition(source: str, qualname: str, new: str) -> str | None:
    """Rename a function, class or assigned name to `new` in one file; None if it is not there."""
    owner, _, old = qualname.rpartition(".")
    transformer = _RenameDefinition(owner, old, new)
    module = cst.parse_module(source).visit(transformer)
    return module.code if transformer.done else None
