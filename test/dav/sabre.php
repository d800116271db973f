<?php
// Files, calendars and address books by Debian's sabre/dav 1.8, laid out as
// Nextcloud lays them out: /remote.php/dav/{files,calendars,addressbooks,
// principals}/<who>. Accounts are alice and bob, their passwords pw-<who>.
// Everything is kept in the folder DAV_DATA, made ready by sabre-setup.php.
require __DIR__ . '/sabre-common.php';

use Sabre\CalDAV;
use Sabre\CardDAV;
use Sabre\DAV;
use Sabre\DAVACL;

class Accounts extends DAV\Auth\Backend\AbstractBasic
{
    protected function validateUserPass($user, $password)
    {
        return in_array($user, ACCOUNTS, true) && hash_equals("pw-$user", $password);
    }
}

// Home keeps each person's files from the others, as the calendars are kept.
class Home extends DAV\FSExt\Directory implements DAVACL\IACL
{
    private $person;

    public function __construct($path, $person)
    {
        parent::__construct($path);
        $this->person = $person;
    }

    public function getOwner() { return "principals/{$this->person}"; }
    public function getGroup() { return null; }
    public function getACL() { return [['privilege' => '{DAV:}all', 'principal' => $this->getOwner(), 'protected' => true]]; }
    public function setACL(array $acl) { throw new DAV\Exception\MethodNotAllowed('not here'); }
    public function getSupportedPrivilegeSet() { return null; }
}

$data = $_SERVER['DAV_DATA'];
$database = openDatabase($data);
$principals = new DAVACL\PrincipalBackend\PDO($database);
$homes = [];
foreach (ACCOUNTS as $person) {
    $homes[] = new Home("$data/files/$person", $person);
}

$server = new DAV\Server([
    new CalDAV\Principal\Collection($principals),
    new CalDAV\CalendarRootNode($principals, new CalDAV\Backend\PDO($database)),
    new CardDAV\AddressBookRoot($principals, new CardDAV\Backend\PDO($database)),
    new DAV\SimpleCollection('files', $homes),
]);
$server->setBaseUri('/remote.php/dav/');
$server->addPlugin(new DAV\Auth\Plugin(new Accounts(), 'sabre'));
$server->addPlugin(new DAVACL\Plugin());
$server->addPlugin(new CalDAV\Plugin());
$server->addPlugin(new CardDAV\Plugin());
$server->addPlugin(new DAV\Locks\Plugin(new DAV\Locks\Backend\File("$data/locks")));
$server->exec();
